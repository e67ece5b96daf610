"""Run a model package frame by frame, without ROS.

    package = ModelPackage.load("models/sparse4d_small")
    engine = Engine(package)
    state = engine.initial_state()
    for frame in frames:
        detections, state = engine.step(frame, state)
"""

from sparse4d_ros.engine.detections import Detections
from sparse4d_ros.engine.engine import Engine, EngineState, FrameRejected, NumericalError
from sparse4d_ros.engine.options import EngineOptions
from sparse4d_ros.engine.package import ModelPackage

__all__ = ["Detections", "Engine", "EngineOptions", "EngineState", "FrameRejected", "ModelPackage", "NumericalError"]
