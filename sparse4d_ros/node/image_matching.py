"""Which images belong to one moment: by their stamps, and by when they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sparse4d_ros.node.camera_track import BufferedImage, CameraTrack


@dataclass(frozen=True)
class Anchor:
    """The image whose stamp a set bears."""

    track: CameraTrack
    image: BufferedImage


class ImageMatching:
    """Compares waiting images with an anchor; times are integer nanoseconds."""

    def __init__(self, tracks: Mapping[str, CameraTrack], reference: CameraTrack, spread_ns: int, wait_ns: int) -> None:
        """``tracks`` stays the synchronizer's; stamps of a set differ by at most ``spread_ns``."""
        self._tracks, self._reference = tracks, reference
        self._spread_ns, self._wait_ns = spread_ns, wait_ns

    def patience_ns(self) -> int:
        """How long a set waits for its images, by the speed of a replay."""
        return round(self._wait_ns * self._reference.slowness)

    def period_ns(self, track: CameraTrack) -> float | None:
        """Time between triggers: the camera's, or the shortest known while that has seen too few."""
        tracks = (track,) if track.knows_period else self._tracks.values()
        return min((item.period_ns for item in tracks if item.period_ns), default=None)

    def window_ns(self, anchor: Anchor) -> float:
        """How far a stamp may be from where it is expected."""
        period = self.period_ns(anchor.track)
        return self._spread_ns if period is None else min(self._spread_ns, period / 2)

    @staticmethod
    def difference_ns(track: CameraTrack, image: BufferedImage, anchor: Anchor) -> float:
        """Stamp difference to the anchor beyond the usual one."""
        return image.stamp_ns - anchor.image.stamp_ns - (track.offset_ns - anchor.track.offset_ns)

    def together(self, track: CameraTrack, image: BufferedImage, anchor: Anchor) -> bool:
        """Whether an image of ``track`` is of the anchor's moment."""
        return (abs(image.stamp_ns - anchor.image.stamp_ns) <= self._spread_ns
                and abs(self.difference_ns(track, image, anchor)) <= self.window_ns(anchor)
                and abs(image.delay_ns - anchor.image.delay_ns) <= self._spread_ns + self.patience_ns())

    def matches(self, anchor: Anchor) -> dict[str, BufferedImage]:
        """The image of each camera that has one of the anchor's moment."""
        found = {}
        period_ns = self.period_ns(anchor.track)
        for name, track in self._tracks.items():
            if track is anchor.track:
                found[name] = anchor.image
                continue
            track.wrap(period_ns)
            images = [image for image in track.images if self.together(track, image, anchor)]
            if images:
                found[name] = min(images, key=lambda image: abs(self.difference_ns(track, image, anchor)))  # noqa: B023
        return found
