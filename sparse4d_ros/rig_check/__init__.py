"""`sparse4d check-rig`: what a recorded bag says about the cameras, their calibration and the vehicle's transforms."""
