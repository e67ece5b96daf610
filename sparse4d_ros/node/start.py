"""Start a program beside the node: `python -m sparse4d_ros.node.start replay --bag drive`, and the files in scripts/.

The programs import what they need at once; here a package that is missing becomes a sentence.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from sparse4d_ros.installing import missing


def start(program: str, arguments: Sequence[str]) -> int:
    """What `main` of ``sparse4d_ros.node.<program>`` returns; 2 with one sentence where a Python package is missing."""
    try:
        return importlib.import_module(f"sparse4d_ros.node.{program}").main(list(arguments))
    except ModuleNotFoundError as error:
        print(missing(f"sparse4d_{program}", str(error.name)), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(start(sys.argv[1], sys.argv[2:]))
