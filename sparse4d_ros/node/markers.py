"""Tracked objects as RViz markers: box, heading, velocity arrow, id and class text, fading trail.

Free of flicker: a track keeps its marker ids, so each message modifies what is shown; only tracks
that are gone are deleted. The lifetime is a net for the case that the node stops.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from rclpy.duration import Duration
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from sparse4d_ros.msg import TrackedObject3D, TrackedObject3DArray

#: Points of a trail; at 10 Hz three seconds.
TRAIL_LENGTH = 30
#: A slower object has no velocity arrow, m/s.
_ARROW_MIN_SPEED = 0.5
#: Shortest lifetime of its own, seconds: at 10 Hz nine lost frames in a row do not blink.
_MIN_LIFETIME_S = 1.0

# One hue a class (matplotlib's tab10); a class beyond the list starts over.
_CLASS_COLORS = tuple((r / 255, g / 255, b / 255) for r, g, b in (
    (31, 119, 180), (255, 127, 14), (188, 189, 34), (44, 160, 44), (140, 86, 75),
    (127, 127, 127), (227, 119, 194), (23, 190, 207), (214, 39, 40), (148, 103, 189)))


def class_color(class_id: int) -> tuple[float, float, float]:
    """Red, green, blue in 0..1."""
    return _CLASS_COLORS[class_id % len(_CLASS_COLORS)]


class MarkerPainter:
    """Remembers trails and what is on display; `paint` once per published frame."""

    def __init__(self, fixed_frame: str) -> None:
        self._fixed_frame = fixed_frame
        self._trails: dict[int, deque[tuple[float, float, float]]] = {}
        self._shown: set[tuple[str, int]] = set()
        self._last_stamp_s: float | None = None
        self._period_s: float | None = None

    def paint(self, tracked: TrackedObject3DArray, fixed_from_output: np.ndarray, lifetime_s: float) -> MarkerArray:
        """The markers of one frame.

        ``fixed_from_output`` ``[4, 4]``: pose of the message's frame in the fixed frame, in which
        trails are kept so that they stay put while the vehicle moves. ``lifetime_s`` 0 means three
        measured periods, and a second at least.
        """
        duration = Duration(seconds=lifetime_s or self._lifetime_s(tracked.header.stamp)).to_msg()
        trail_header = Header(stamp=tracked.header.stamp, frame_id=self._fixed_frame)
        markers: list[Marker] = []
        for item in tracked.objects:
            self._extend_trail(item, fixed_from_output)
            markers += self._of_object(item, tracked.header, trail_header)
        for marker in markers:
            marker.lifetime = duration
        shown = {(marker.ns, marker.id) for marker in markers}
        markers += self._deletions(self._shown - shown, tracked.header)
        self._shown = shown
        present = {item.track_id for item in tracked.objects}
        self._trails = {track: trail for track, trail in self._trails.items() if track in present}
        return MarkerArray(markers=markers)

    def clear(self) -> MarkerArray:
        """Takes everything off the display, for the moment the node stops publishing."""
        markers = self._deletions(self._shown, Header(frame_id=self._fixed_frame))
        self._shown, self._trails, self._last_stamp_s = set(), {}, None
        return MarkerArray(markers=markers)

    def _lifetime_s(self, stamp: Time) -> float:
        now_s = stamp.sec + 1e-9 * stamp.nanosec
        step = None if self._last_stamp_s is None else now_s - self._last_stamp_s
        self._last_stamp_s = now_s
        if step is not None and 0.0 < step < 5.0:
            # Follows a longer period at once (no gap on the display), a shorter one smoothly.
            self._period_s = step if self._period_s is None else max(step, 0.8 * self._period_s + 0.2 * step)
        return max(_MIN_LIFETIME_S, 3.0 * (self._period_s or 0.0))

    def _extend_trail(self, item: TrackedObject3D, fixed_from_output: np.ndarray) -> None:
        position = item.pose.position
        point = fixed_from_output[:3, :3] @ (position.x, position.y, position.z) + fixed_from_output[:3, 3]
        self._trails.setdefault(item.track_id, deque(maxlen=TRAIL_LENGTH)).append(tuple(point.tolist()))

    @staticmethod
    def _deletions(keys: set[tuple[str, int]], header: Header) -> list[Marker]:
        return [Marker(header=header, ns=namespace, id=number, action=Marker.DELETE)
                for namespace, number in sorted(keys)]

    def _of_object(self, item: TrackedObject3D, header: Header, trail_header: Header) -> list[Marker]:
        number = item.track_id & 0x7FFFFFFF  # Marker.id is an int32
        red, green, blue = class_color(item.class_id)
        solid = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        markers = [
            Marker(header=header, ns="box", id=number, type=Marker.CUBE, pose=item.pose, scale=item.size,
                   color=ColorRGBA(r=red, g=green, b=blue, a=0.4)),
            self._heading(item, header, number, solid),
            self._text(item, header, number),
        ]
        speed = math.hypot(item.velocity.x, item.velocity.y)
        if item.velocity_valid and speed > _ARROW_MIN_SPEED:
            markers.append(self._velocity(item, header, number))
        trail = self._trails[item.track_id]
        if len(trail) > 1:
            fading = [ColorRGBA(r=red, g=green, b=blue, a=(i + 1) / len(trail)) for i in range(len(trail))]
            markers.append(Marker(header=trail_header, ns="trail", id=number, type=Marker.LINE_STRIP,
                                  scale=Vector3(x=0.12), points=[Point(x=x, y=y, z=z) for x, y, z in trail],
                                  colors=fading, pose=_identity()))
        return markers

    @staticmethod
    def _heading(item: TrackedObject3D, header: Header, number: int, color: ColorRGBA) -> Marker:
        """A line in the box's own axes from its centre to beyond its front."""
        return Marker(header=header, ns="heading", id=number, type=Marker.LINE_STRIP, pose=item.pose,
                      scale=Vector3(x=0.15), color=color, points=[Point(), Point(x=0.5 * item.size.x + 0.5)])

    @staticmethod
    def _velocity(item: TrackedObject3D, header: Header, number: int) -> Marker:
        """An arrow along the ground to where the object will be in one second."""
        start, velocity = item.pose.position, item.velocity
        end = Point(x=start.x + velocity.x, y=start.y + velocity.y, z=start.z)
        return Marker(header=header, ns="velocity", id=number, type=Marker.ARROW, pose=_identity(),
                      scale=Vector3(x=0.12, y=0.3, z=0.4), color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9),
                      points=[start, end])

    @staticmethod
    def _text(item: TrackedObject3D, header: Header, number: int) -> Marker:
        centre = item.pose.position
        above = Pose(position=Point(x=centre.x, y=centre.y, z=centre.z + 0.5 * item.size.z + 0.6),
                     orientation=Quaternion(w=1.0))
        return Marker(header=header, ns="text", id=number, type=Marker.TEXT_VIEW_FACING, pose=above,
                      scale=Vector3(z=0.7), color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0),
                      text=f"{item.track_id} {item.class_name} {item.score:.2f}")


def _identity() -> Pose:
    return Pose(orientation=Quaternion(w=1.0))
