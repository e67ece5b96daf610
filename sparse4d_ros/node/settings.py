"""Every parameter of the node, each declared once: name, type, default, meaning, range, read-only or not.

What rclpy is told (`parameter_server`), what the annotated file in `config/` holds and the table in
the documentation are all derived from the dataclass `Settings`; `parameters` checks values against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Model order of the cameras of the nuScenes rig.
NUSCENES_CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")


@dataclass(frozen=True)
class Spec:
    """What is known about one parameter beside its type and default, which the dataclass field holds."""

    name: str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    runtime: bool = False  #: may be set while the node runs
    optional: bool = False  #: an empty text is allowed
    per: str = ""  #: "camera" or "class": one parameter `name.<camera>` for each, all of the mapping's value type


def _parameter(default: Any, name: str, description: str, **more: Any) -> Any:
    spec = {"spec": Spec(name, description, **more)}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=spec | {"type": type(next(iter(default.values())))})
    return field(default=default, metadata=spec | {"type": type(default)})


@dataclass(frozen=True)
class Settings:
    """The values of all parameters, checked; immutable, so that a running frame sees one consistent set."""

    autostart: bool = _parameter(
        True, "autostart", "Configure and activate as soon as the node spins; otherwise wait for lifecycle services.")

    cameras: tuple[str, ...] = _parameter(
        NUSCENES_CAMERAS, "cameras", "Camera names in the model's order; the order pairs an image with its matrix.")
    reference_camera: str = _parameter(
        "front", "reference_camera", "The camera whose stamp a frame set carries; one of `cameras`.")
    image_transport: str = _parameter(
        "raw", "image_transport", "`raw` subscribes ~/input/<camera>/image, `compressed` .../image/compressed.",
        choices=("raw", "compressed"))
    input_qos: str = _parameter(
        "sensor_data", "input_qos", "Reliability of the camera subscriptions: `sensor_data` is best effort.",
        choices=("sensor_data", "reliable"))
    camera_frames: Mapping[str, str] = _parameter(
        {"": ""}, "camera_frames", "Optical frame of a camera, in place of its images' header.frame_id; a camera whose "
        "driver sends another non-empty frame_id is then refused.", per="camera")
    undistort: bool = _parameter(
        False, "undistort", "Undistort images whose camera_info has distortion; otherwise one warning is given.")

    output_frame: str = _parameter("base_link", "output_frame", "Frame of everything that is published.")
    base_frame: str = _parameter("base_link", "base_frame", "The vehicle's frame: x forward, y left, z up (REP-105).")
    fixed_frame: str = _parameter(
        "odom", "fixed_frame", "Continuous frame for ego motion (REP-105); a jump of `map` would be read as motion.")

    max_stamp_spread_ms: float = _parameter(
        100.0, "max_stamp_spread_ms", "A camera belongs to a set if its stamp is this near the reference camera's.",
        low=0.0, high=1000.0)
    max_wait_ms: float = _parameter(
        60.0, "max_wait_ms", "Steady time to wait for the other cameras once the reference image is there.",
        low=0.0, high=5000.0)
    min_cameras: int = _parameter(
        0, "min_cameras", "Fewest cameras of a usable set; 0 means all of them.", low=0, high=32)
    reset_on_backward_jump_ms: float = _parameter(
        500.0, "reset_on_backward_jump_ms", "A backward step of stamps or clock above this empties everything (bag "
        "loop); a smaller one only drops the frame.", low=0.0, high=60000.0)
    rate_policy: str = _parameter(
        "every", "rate_policy", "`every` set is used, or with `stride` only each n-th, so that the interval is near "
        "the one the model was trained at.", choices=("every", "stride"))

    tf_timeout_ms: float = _parameter(
        50.0, "tf_timeout_ms", "How long a set waits, in the worker, for its transforms.", low=0.0, high=5000.0)
    ego_motion_policy: str = _parameter(
        "require", "ego_motion_policy", "Without a pose in the fixed frame: `require` drops the set, `no_history` uses "
        "it with an emptied bank and the flag NO_HISTORY.", choices=("require", "no_history"))
    max_ego_extrapolation_ms: float = _parameter(
        0.0, "max_ego_extrapolation_ms", "How far past the newest pose ego motion may be continued, flagged; 0 never.",
        low=0.0, high=1000.0)
    max_ego_jump_m: float = _parameter(
        5.0, "max_ego_jump_m", "A step of the fixed frame this much longer than a vehicle can have driven resets the "
        "bank.", low=0.0, high=1e6)
    max_ego_jump_deg: float = _parameter(
        20.0, "max_ego_jump_deg", "The same for rotation.", low=0.0, high=180.0)
    max_interval_s: float = _parameter(
        2.0, "max_interval_s", "A longer gap between sets, or one beyond the model's own limit, restarts the "
        "instance bank.", low=0.01, high=60.0)

    model_package: str = _parameter(
        "sparse4d_small", "model.package", "Model package: a folder, or the name of one shipped in models/.")
    model_backend: str = _parameter(
        "auto", "model.backend", "What computes the network; `auto` takes the best one that runs here.",
        choices=("auto", "onnxruntime", "torch", "tensorrt"))
    model_device: str = _parameter(
        "", "model.device", "Device of the backend, for example `cpu` or `cuda:0`; empty lets the backend choose, a "
        "device that is not there fails.", optional=True)
    model_precision: str = _parameter(
        "fp32", "model.precision", "Arithmetic of the network: onnxruntime fp32, torch fp32 to bf16, tensorrt all but "
        "bf16.", choices=("fp32", "fp16", "bf16", "int8"))
    model_engine: str = _parameter(
        "", "model.engine", "TensorRT engine file; empty means where `sparse4d build-engine` puts it.", optional=True)
    model_warmup_runs: int = _parameter(
        2, "model.warmup_runs", "Runs on empty images while configuring, so that the first frame is not slow.",
        low=0, high=100)
    max_consecutive_failures: int = _parameter(
        10, "max_consecutive_failures", "So many failed inferences in a row deactivate the node and free the device.",
        low=1, high=100000)

    score_threshold: float = _parameter(
        0.3, "score_threshold", "Objects below this score are not published.", low=0.0, high=1.0)
    class_score_thresholds: Mapping[str, float] = _parameter(
        {"": 0.3}, "class_score_thresholds", "`score_threshold` for one class of the model.", low=0.0, high=1.0,
        per="class")
    max_objects: int = _parameter(300, "max_objects", "Most objects published per frame.", low=1, high=10000)
    max_range_m: float = _parameter(
        55.0, "max_range_m", "Objects further from the vehicle, seen from above, are not published.",
        low=1.0, high=1000.0)

    score_mode: str = _parameter(
        "class_centerness", "score_mode", "What objects are ranked by: class probability times centerness (reference), "
        "or times the root of centerness times yawness.", choices=("class_centerness", "class_sqrt_quality"))
    nms_iou: float = _parameter(
        -1.0, "nms_iou", "Suppress boxes of one class that overlap a better one by more than this 3-D IoU; 1 never, "
        "-1 as the model package says.", low=-1.0, high=1.0)
    bank_min_confidence: float = _parameter(
        0.0, "bank.min_confidence", "Forget an instance whose confidence falls below this; 0 never. Often 0.25.",
        low=0.0, high=1.0)
    bank_max_unseen: int = _parameter(
        0, "bank.max_unseen", "Forget an instance unseen for more than so many frames; 0 never. Often 8.",
        low=0, high=100000)
    association_similarity: float = _parameter(
        0.0, "association_similarity", "Give a returning object its old id where its embedding has at least this "
        "cosine similarity; 0 never. Often 0.2.", low=0.0, high=1.0)

    publish_detections: bool = _parameter(
        True, "publish_detections", "Publish ~/output/detections (vision_msgs) too.", runtime=True)
    publish_markers: bool = _parameter(
        True, "publish_markers", "Publish ~/output/markers while somebody subscribes.", runtime=True)
    publish_overlay: bool = _parameter(
        False, "publish_overlay", "Publish ~/debug/<camera>/overlay/compressed while somebody subscribes.",
        runtime=True)
    marker_lifetime_s: float = _parameter(
        0.0, "marker_lifetime_s", "Markers vanish after this; 0 means three measured periods, 1 s at least.",
        low=0.0, high=60.0, runtime=True)

    max_image_age_ms: float = _parameter(
        500.0, "diagnostics.max_image_age_ms", "A camera without a new image for longer is stale.",
        low=1.0, high=60000.0)
    max_processing_time_ms: float = _parameter(
        1000.0, "diagnostics.max_processing_time_ms", "A frame in work for longer raises the watchdog's ERROR.",
        low=1.0, high=600000.0)
    sustained_delay_ms: float = _parameter(
        500.0, "diagnostics.sustained_delay_ms", "Median time from image stamp to output above this is a WARN.",
        low=1.0, high=600000.0)
    diagnostics_period_s: float = _parameter(
        1.0, "diagnostics.period_s", "Period of /diagnostics, on the steady clock.", low=0.05, high=60.0)

    @property
    def required_cameras(self) -> int:
        """Fewest cameras of a usable set, as a number of cameras."""
        return self.min_cameras or len(self.cameras)
