"""What can be wrong with a rig, and what `sparse4d check-rig` must say of it."""

from __future__ import annotations

import numpy as np
import rig_cases
from rig_cases import calibrated, driven, dropped, mounted, relogged, restamped

from sparse4d_ros import geometry
from sparse4d_ros.data import ros_messages
from sparse4d_ros.findings import FAIL, SKIP, WARN

OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def turned(yaw_deg):
    return geometry.from_yaw(0.0, 0.0, 0.0, np.radians(yaw_deg))


def at(x=1.0, y=0.5, z=1.5):
    def move(pose):
        pose[:3, 3] = x, y, z
        return pose
    return move


def put(**fields):
    """A change of camera_info that sets fields."""
    def change(message, index):
        for name, value in fields.items():
            setattr(message, name, value)
    return change


def intrinsic(fx=69.6, fy=69.6, cx=44.0, cy=9.5):
    return np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0])


def zoomed(message, index):
    message.k = message.k * (1.0 if index < 10 else np.array([1.2, 1, 1, 1, 1.2, 1, 1, 1, 1]))


def static_twice(topic, message, log_ns):
    if topic == "/tf_static":
        again = ros_messages.transform(rig_cases.START_NS, "base_link", "front_optical_frame", np.eye(4))
        message.transforms = [*message.transforms, again]
    return message.__msgtype__, message, log_ns


def static_too(parent, child):
    def change(topic, message, log_ns):
        if topic == "/tf_static":
            more = ros_messages.transform(rig_cases.START_NS, parent, child, np.eye(4))
            message.transforms = [*message.transforms, more]
        return message.__msgtype__, message, log_ns
    return change


def long_quaternion(topic, message, log_ns):
    if topic == "/tf_static":
        message.transforms[0].transform.rotation.w = 3.0
    return message.__msgtype__, message, log_ns


def other_frame(topic, message, log_ns):
    if topic == "/tf":
        message.transforms[0].header.frame_id = "map"
    return message.__msgtype__, message, log_ns


def late_tf(topic, message, log_ns):
    return message.__msgtype__, message, log_ns + (200_000_000 if topic == "/tf" else 0)


def shuffled_tf(topic, message, log_ns):
    stamp_ns = ros_messages.stamp_ns(message.transforms[0].header.stamp) if topic == "/tf" else 0
    late = stamp_ns and (stamp_ns - rig_cases.START_NS) // 1_000_000 == 400
    return message.__msgtype__, message, log_ns + (40_000_000 if late else 0)


def without(topic_to_drop):
    return lambda topic, message, log_ns: None if topic == topic_to_drop else (message.__msgtype__, message, log_ns)


def jump(metres, degrees=0.0):
    def change(pose, seconds):
        return pose if seconds < 3 else geometry.from_yaw(metres, 0, 0, 0) @ pose @ turned(degrees)
    return change


def set_field(holder, name, value):
    """A change of pictures: ``holder(message)`` gets the field."""
    def change(message, log_ns, index):
        setattr(holder(message), name, value)
        return log_ns
    return rig_cases.of_camera("back", "image", change)


#: By check and subject: name of the fault: (level, words of the finding, what is broken, parameters that differ).
TABLE = {
    ("stamps", "back"): {
        "no picture": (FAIL, "no pictures", dropped("back", lambda i: True)),
        "zero stamps": (FAIL, "20 of 20", set_field(lambda m: m.header, "stamp", ros_messages.to_stamp(0))),
        "stamps twice": (WARN, "10 pictures carry", restamped("back", lambda i: -200 * (i % 2))),
        "a step back": (WARN, "go back 1 times, by up to 50 ms: the node would drop",
                        restamped("back", lambda i: -250 if i == 9 else 0)),
        "a leap back": (FAIL, "empty its memory", restamped("back", lambda i: -2000 if i >= 12 else 0)),
        "lost pictures": (WARN, "about 3 pictures are missing", dropped("back", lambda i: i % 5 == 4)),
        "a long gap": (WARN, "tracks start anew", dropped("back", lambda i: 4 <= i < 16)),
        "jitter": (WARN, "intervals scatter by 30%", restamped("back", lambda i: 60 * (i % 3 == 1))),
        "ahead": (WARN, "40 ms ahead", restamped("back", lambda i: 60)),
        "late": (WARN, "720 ms after their stamps", relogged("back", lambda i: 700)),
        "later than the others": (WARN, "those of the other cameras 20", relogged("back", lambda i: 55)),
        "another clock": (FAIL, "of another clock", restamped("back", lambda i: -1e6)),
        "a clock that drifts": (WARN, "wanders by +24 ms", restamped("back", lambda i: -1.5 * i)),
    },
    ("pictures", "back"): {
        "a broken picture": (FAIL, "neither JPEG nor PNG", set_field(lambda m: m, "data", np.zeros(9, np.uint8))),
    },
    ("sets", "back"): {
        "out of the set": (FAIL, "no picture within 50 ms of front's for 100%", restamped("back", lambda i: 50),
                           {"max_stamp_spread_ms": 50.0}),
        "near the limit": (WARN, "up to 84 ms from front", restamped("back", lambda i: 60)),
        "half the rate": (WARN, "2.50 Hz and front at 5.00 Hz", dropped("back", lambda i: i % 2)),
        "free running": (WARN, "wanders by 51 ms", restamped("back", lambda i: 3 * i - 29)),
        "arrives late": (WARN, "arrive 69 ms after front's", relogged("back", lambda i: 45)),
    },
    ("sets", "all cameras"): {
        "sets incomplete": (FAIL, "0 of 20 sets", restamped("back", lambda i: 50), {"max_stamp_spread_ms": 50.0}),
    },
    ("camera_info", "back"): {
        "no calibration": (FAIL, "/camera/back/camera_info", without("/camera/back/camera_info")),
        "zero K": (FAIL, "all zero", calibrated("back", put(k=np.zeros(9)))),
        "another size": (FAIL, "88x32", calibrated("back", put(width=100, height=100))),
        "off the centre": (WARN, "70, 10 is far", calibrated("back", put(k=intrinsic(cx=70.0)))),
        "uneven focal lengths": (WARN, "70 and 40", calibrated("back", put(k=intrinsic(fy=40.0)))),
        "a telephoto lens": (WARN, "of 10 deg", calibrated("back", put(k=intrinsic(500, 500)))),
        "a fish eye": (WARN, "of 142 deg", calibrated("back", put(k=intrinsic(15, 15)))),
        "distortion": (WARN, "bends", calibrated("back", put(d=np.array([-0.3, 0.1, 0, 0, 0])))),
        "K is not P": (WARN, "K and P", calibrated("back", put(p=np.eye(3, 4).ravel() * 60))),
        "zoom": (FAIL, "first after 2.0 s (k)", calibrated("back", zoomed)),
        "frames exchanged": (FAIL, "'front_optical_frame'", calibrated(
            "back", lambda message, i: setattr(message.header, "frame_id", "front_optical_frame"))),
    },
    ("mounting", "back"): {
        "no mounting": (FAIL, "no transform connects 'base_link' and 'back_optical_frame'",
                        mounted("back", lambda pose: None)),
        "no optical axes": (FAIL, "looks 90 deg up", mounted("back", lambda pose: pose @ geometry.inverse(OPTICAL))),
        "upside down": (FAIL, "upside down", mounted("back", lambda pose: pose @ turned(180))),
        "tilted": (WARN, "rolled by 30 deg", mounted("back", lambda pose: pose @ turned(30))),
        "below the ground": (WARN, "-0.40 m above", mounted("back", at(z=-0.4))),
        "millimetres": (FAIL, "no part of a vehicle", mounted("back", at(x=30.0, z=1500.0))),
        "back looks ahead": (FAIL, "straight ahead, against", mounted("back", lambda pose: turned(180) @ pose)),
    },
    ("mounting", "front"): {
        "inverse": (FAIL, "lies on its side", mounted("front", geometry.inverse)),
        "front looks back": (FAIL, "straight back, against", mounted("front", lambda pose: turned(180) @ pose)),
    },
    ("mounting", "front_left"): {
        "left looks right": (FAIL, "55 deg to the right, against its name",
                             mounted("front_left", lambda pose: turned(-110) @ pose)),
        "left sits right": (FAIL, "0.60 m to the right", mounted("front_left", at(y=-0.6))),
    },
    ("mounting", "front, back"): {
        "twins": (FAIL, "same pose", mounted("front", lambda pose: geometry.from_yaw(0.03, 0, 1.57, np.pi) @ OPTICAL)),
    },
    ("tf", "transforms"): {
        "mounting sent twice": (WARN, "'front_optical_frame' was sent twice", static_twice),
        "a bad quaternion": (WARN, "length", long_quaternion),
        "a loop": (WARN, "form a loop", static_too("base_link", "odom")),
        "moving and static": (WARN, "'base_link' is on both /tf and /tf_static", static_too("odom", "base_link")),
    },
    ("coverage", "rig"): {
        "a blind sector": (WARN, "nobody sees 18 deg left to 23 deg left",
                           calibrated("front", put(k=intrinsic(140, 140)))),
    },
    ("tf", "odom -> base_link"): {
        "no odometry": (FAIL, "nothing on /tf", without("/tf")),
        "only map": (WARN, "map -> base_link does, and was used", other_frame),
        "tf late": (WARN, "recorded 202 ms after", late_tf),
        "tf out of order": (WARN, "base_link go back", shuffled_tf),
        "a gap in tf": (WARN, "gaps above", driven(lambda pose, t: None if 2 < t < 2.7 else pose)),
        "slow tf": (WARN, "slower than the cameras",
                    driven(lambda pose, t: pose if round(t * 1e3) % 400 == 0 else None)),
        "tf ends": (FAIL, "does not cover", driven(lambda pose, t: pose if t < 2.5 else None)),
        "one pose": (FAIL, "a single pose", driven(lambda pose, t: pose if t == 2 else None)),
        "a small jump": (WARN, "by up to 1.0 m", driven(jump(1.0))),
        "a large jump": (FAIL, "empties its memory", driven(jump(8.0))),
        "a turn at once": (FAIL, "30.0 deg", driven(jump(0.0, 30.0))),
    },
    ("motion", "odom -> base_link"): {
        "tf in millimetres": (FAIL, "8000 m/s", driven(
            lambda pose, t: geometry.from_yaw(*pose[:3, 3] * 1000, geometry.yaw_of(pose)))),
        "stands": (SKIP, "hardly drives", driven(lambda pose, t: np.eye(4))),
        "a few degrees aside": (WARN, "5.0 deg to the left of its x axis", driven(lambda pose, t: pose @ turned(-5))),
        "sideways": (FAIL, "90.0 deg to the right of its x axis", driven(lambda pose, t: pose @ turned(90))),
        "backward": (FAIL, "moves backward", driven(lambda pose, t: pose @ turned(180))),
    },
}
FAULTS = {name: (*about, *row) for about, rows in TABLE.items() for name, row in rows.items()}
