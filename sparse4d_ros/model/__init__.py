"""The Sparse4D v3 network, readable from top to bottom: start at :mod:`sparse4d_ros.model.detector`."""
