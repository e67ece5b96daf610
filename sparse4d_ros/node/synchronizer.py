"""Sets of images that belong to one moment, out of cameras that come when they like.

No ROS types: stamps and steady times are integer nanoseconds, payloads are anything. The rules:

* A set is **anchored on the reference camera**. Each other camera gives the image nearest to that stamp
  (plus its usual offset), within ``max_stamp_spread_ms`` *and* half a period: when images drop, the
  nearest one may be of another trigger, and a mixed set is worse than none.
* An image's arrival must fit its stamp as the reference's does, so that a camera whose clock is off by
  whole periods cannot pass as in step.
* A set closes when every camera is in, or ``max_wait_ms`` of steady time after its reference image with at
  least ``min_cameras``; with fewer it is given up. An image that comes later than that is late: it is
  never joined to the next set. A replay slower than real time stretches the waits by the same factor.
* Three images wait per camera. A full buffer ends the wait of the set its oldest image belongs to; if none
  can close, the oldest arrival goes. When two sets are ready, the newer one is given out.
* While the reference camera is **silent** (2.5 periods, half a second at the start) and ``min_cameras``
  allows it, the first other camera in the given order that has an image stands in: the set bears its stamp,
  and closes by the same wait.
* A backward step above ``reset_on_backward_jump_ms`` clears everything (``epoch`` + 1), a smaller one drops
  the image. A camera that returns from a stray stamp in the future to where the others are is
  cleared alone: time went on for everyone else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any

from sparse4d_ros.node.camera_track import BufferedImage, CameraTrack
from sparse4d_ros.node.frame_set import Counters, Entry, FrameSet, InputState
from sparse4d_ros.node.image_matching import Anchor, ImageMatching

__all__ = ["Counters", "Entry", "FrameSet", "InputState", "Synchronizer"]

# Without a known period the reference camera counts as silent after this.
_SILENCE_NS = 500_000_000
# Everything is too old and nothing was given out for this long: the last set, not the cameras, was wrong.
_STUCK_NS = 1_000_000_000


@dataclass(frozen=True)
class _Settled:
    """The newest set that was closed or given up: nothing of its moment or older is taken any more."""

    anchor: Anchor
    cameras: frozenset[str]
    now_ns: int


class Synchronizer:
    """Not thread-safe: ``add`` and ``poll`` belong to one thread, the executor's."""

    def __init__(self, cameras: Sequence[str], reference: str, *, max_stamp_spread_ms: float = 100.0,
                 max_wait_ms: float = 60.0, min_cameras: int | None = None,
                 reset_on_backward_jump_ms: float = 500.0, buffer_size: int = 3) -> None:
        """Raises ``ValueError`` naming what is wrong. ``min_cameras`` None means all of them."""
        if not cameras or len(set(cameras)) != len(cameras):
            raise ValueError(f"cameras must be names that differ, not {list(cameras)}")
        if reference not in cameras:
            raise ValueError(f"reference camera '{reference}' is not one of {list(cameras)}")
        minimum = len(cameras) if min_cameras is None else min_cameras
        if not 1 <= minimum <= len(cameras):
            raise ValueError(f"min_cameras is {minimum}, not between 1 and {len(cameras)}")
        if min(max_stamp_spread_ms, max_wait_ms, reset_on_backward_jump_ms) < 0 or buffer_size < 1:
            raise ValueError("max_stamp_spread_ms, max_wait_ms and reset_on_backward_jump_ms cannot be negative, "
                             "and buffer_size is at least 1")
        self._tracks = {name: CameraTrack(name) for name in cameras}
        self._reference = self._tracks[reference]
        self._spread_ns = round(max_stamp_spread_ms * 1e6)
        self._matching = ImageMatching(self._tracks, self._reference, self._spread_ns, round(max_wait_ms * 1e6))
        self._jump_ns = round(reset_on_backward_jump_ms * 1e6)
        self._min_cameras = minimum
        self._buffer_size = buffer_size
        self._settled: _Settled | None = None
        self._started_ns: int | None = None
        #: Times everything was cleared; sets closed; sets given up for lack of cameras.
        self.epoch = self.sets_closed = self.sets_dropped = 0

    # -- in and out ---------------------------------------------------------------------------

    def add(self, camera: str, stamp_ns: int, payload: Any, now_ns: int | None = None) -> FrameSet | None:
        """Take one image; a set if one is ready. ``now_ns`` is the steady clock (default: read here)."""
        if camera not in self._tracks:
            raise ValueError(f"unknown camera '{camera}', expected one of {list(self._tracks)}")
        now_ns = time.monotonic_ns() if now_ns is None else now_ns
        track = self._tracks[camera]
        track.counters.received += 1
        if stamp_ns <= 0:
            track.counters.rejected += 1
            return self.poll(now_ns)
        self._watch_for_jump(track, stamp_ns, now_ns)
        if self._started_ns is None:
            self._started_ns = now_ns
        frame_set = self.poll(now_ns)  # before the image: what came after the wait is not part of the set
        if not self._is_news(track, stamp_ns, payload):
            return frame_set
        track.observe(stamp_ns, now_ns)
        image = BufferedImage(stamp_ns, now_ns, payload)
        if self._is_late(track, image):
            track.counters.late += 1
            track.came_late = True
            return frame_set
        if len(track.images) == self._buffer_size:
            frame_set = frame_set or self._close(now_ns, ending=track.images[0])
            if len(track.images) == self._buffer_size:
                del track.images[0]
                track.counters.overflow += 1
        track.images.append(image)
        return frame_set or self.poll(now_ns)

    def poll(self, now_ns: int | None = None) -> FrameSet | None:
        """A set whose wait is over, if any: to be called by a timer, since no image may come to ask."""
        return self._close(time.monotonic_ns() if now_ns is None else now_ns)

    def reset(self) -> None:
        """Forget all images and stamps; what was learnt about offsets and rates stays."""
        for track in self._tracks.values():
            track.clear()
        self._settled = self._started_ns = None
        self.epoch += 1

    def next_deadline_ns(self) -> int | None:
        """Steady time at which ``poll`` is due next; None while nothing waits."""
        if anchors := self._anchors(silent=False):
            return min(map(self._deadline_ns, anchors))
        if anchors := self._anchors(silent=True):
            return max(self._silent_from_ns(), min(map(self._deadline_ns, anchors)))
        return None

    # -- what diagnostics show -------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, Counters]:
        """A copy of each camera's counters, with the images that wait."""
        return {name: replace(track.counters, buffered=len(track.images)) for name, track in self._tracks.items()}

    def clock_offset_ms(self, camera: str) -> float | None:
        """How far this camera's clock seems ahead of most (of two: of the reference camera's); None until seen.

        From arrivals, so a difference in transport delay is in it: tens of milliseconds mean nothing.
        """
        own = self._tracks[camera].delay_ns()
        known = [delay for track in self._tracks.values() if (delay := track.delay_ns()) is not None]
        usual = median_low(known) if len(known) > 2 else self._reference.delay_ns()
        return None if own is None or usual is None else (usual - own) / 1e6

    # -- what an arriving image means ---------------------------------------------------------------

    def _watch_for_jump(self, track: CameraTrack, stamp_ns: int, now_ns: int) -> None:
        """Clear what a backward step makes worthless, before the image is looked at."""
        limit = stamp_ns + self._jump_ns
        output_ahead = self._settled is not None and self._settled.anchor.image.stamp_ns > limit
        if track.newest_ns is not None and track.newest_ns > limit:
            returns = any(other is not track and other.newest_ns is not None
                          and abs(other.newest_ns - stamp_ns) <= self._jump_ns for other in self._tracks.values())
            if returns and not output_ahead:
                track.clear()
            else:
                self.reset()
        elif output_ahead and now_ns - self._settled.now_ns > _STUCK_NS:
            self.reset()

    def _is_news(self, track: CameraTrack, stamp_ns: int, payload: Any) -> bool:
        if track.newest_ns is None or stamp_ns > track.newest_ns:
            return True
        same = next((image for image in track.images if image.stamp_ns == stamp_ns), None)
        if same is not None:
            same.payload = payload
        if same is not None or stamp_ns == track.newest_ns:
            track.counters.duplicate += 1
        else:
            track.counters.out_of_order += 1
        return False

    def _is_late(self, track: CameraTrack, image: BufferedImage) -> bool:
        if self._settled is None or track.name in self._settled.cameras:
            return False  # a camera that gave its image of that moment now brings one of the next
        anchor = self._settled.anchor
        return (self._matching.difference_ns(track, image, anchor) < -self._matching.window_ns(anchor)
                or self._matching.together(track, image, anchor))

    # -- when a set closes -----------------------------------------------------------------------

    def _deadline_ns(self, anchor: Anchor) -> int:
        return anchor.image.arrival_ns + self._matching.patience_ns()

    def _silent_from_ns(self) -> int:
        """Steady time from which the reference camera counts as silent."""
        last = self._reference.last_arrival_ns
        if last is None:
            return (self._started_ns or 0) + _SILENCE_NS
        period = self._matching.period_ns(self._reference)
        usual = _SILENCE_NS if period is None else 2.5 * period * self._reference.slowness
        return last + round(max(usual, self._spread_ns + self._matching.patience_ns()))

    def _anchors(self, silent: bool) -> list[Anchor]:
        """Images that sets may be built on, oldest first, none older than the last set; those of another camera where
        the reference camera is ``silent``."""
        after = self._settled.anchor.image.stamp_ns if self._settled else 0
        others = self._tracks.values() if silent and self._min_cameras < len(self._tracks) else ()
        for track in (self._reference, *others):
            if anchors := [Anchor(track, image) for image in track.images if image.stamp_ns > after]:
                return anchors
        return []

    def _close(self, now_ns: int, ending: BufferedImage | None = None) -> FrameSet | None:
        """The newest set that is complete, or whose wait is over (for the set of ``ending``: now)."""
        over = []
        for anchor in reversed(self._anchors(silent=now_ns >= self._silent_from_ns())):
            matches = self._matching.matches(anchor)
            waited = self._deadline_ns(anchor) <= now_ns
            ends = waited or any(image is ending for image in matches.values())
            if len(matches) == len(self._tracks) or (ends and len(matches) >= self._min_cameras):
                return self._give_out(anchor, matches, now_ns)
            if waited:
                over.append((anchor, matches))
        for anchor, matches in reversed(over):
            self._give_up(anchor, matches, now_ns)
        return None

    def _give_out(self, anchor: Anchor, matches: dict[str, BufferedImage], now_ns: int) -> FrameSet:
        reference_ns = anchor.image.stamp_ns
        entries = {}
        for name, track in self._tracks.items():
            image = matches.get(name)
            if image is None:
                entries[name] = Entry(InputState.LATE if track.came_late else InputState.MISSING)
            else:
                offset_ns = image.stamp_ns - reference_ns
                entries[name] = Entry(InputState.OK, image.payload, image.stamp_ns, offset_ns / 1e6)
                if track is not anchor.track:
                    track.matched(offset_ns + anchor.track.offset_ns)
        for name, image in matches.items():
            self._tracks[name].images.remove(image)
            self._tracks[name].counters.used += 1
        self.sets_closed += 1
        self._settle(anchor, matches, now_ns)
        return FrameSet(reference_ns, anchor.track.name, entries, min(image.arrival_ns for image in matches.values()),
                        now_ns, self.epoch)

    def _give_up(self, anchor: Anchor, matches: dict[str, BufferedImage], now_ns: int) -> None:
        self.sets_dropped += 1
        stray = [track for track in self._tracks.values() if track is not anchor.track and track.newest_ns is not None]
        if stray and all(anchor.image.stamp_ns - track.newest_ns > self._jump_ns for track in stray):
            # Alone in the future: must not make everybody else's images old.
            anchor.track.images.remove(anchor.image)
            anchor.track.counters.unmatched += 1
        else:
            self._settle(anchor, matches, now_ns)

    def _settle(self, anchor: Anchor, matches: dict[str, BufferedImage], now_ns: int) -> None:
        """Drop what belongs to this moment or an older one."""
        for name, track in self._tracks.items():
            if name in matches:
                kept = [image for image in track.images if image.stamp_ns > matches[name].stamp_ns]
            else:
                kept = [image for image in track.images if self._matching.difference_ns(track, image, anchor) > 0]
                track.missed()
            track.counters.unmatched += len(track.images) - len(kept)
            track.images = kept
            track.came_late = False
        self._settled = _Settled(anchor, frozenset(matches), now_ns)
