"""Sparse4D v3 for ROS 2: six cameras in, tracked 3-D objects out.

Importing this package needs no ROS. The generated messages (``sparse4d_ros.msg``) live in the
installed ROS package; ``extend_path`` joins them to a source tree that stands earlier on the path.
"""

import os
from pkgutil import extend_path

# onnxruntime 1.29 and later note what they run and send it to their maker, unless told before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__path__ = extend_path(__path__, __name__)
__version__ = "0.2.0"
