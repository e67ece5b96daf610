"""Six cameras in front of a synchronizer, and short words for what comes out of it."""

from sparse4d_ros.node.synchronizer import InputState, Synchronizer

CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")
MS = 1_000_000
SECOND = 1000 * MS
START = 1_700_000_000 * SECOND


class Rig:
    """Six cameras in front of a synchronizer; times in ms since the start, steady time equal to stamps plus 5 ms."""

    def __init__(self, **options):
        self.synchronizer = Synchronizer(CAMERAS, "front", **options)
        self.sets = []

    def add(self, camera, stamp_ms, at_ms=None, payload=None):
        now_ms = stamp_ms + 5 if at_ms is None else at_ms
        return self._note(self.synchronizer.add(camera, START + round(stamp_ms * MS), payload or (camera, stamp_ms),
                                                SECOND + round(now_ms * MS)))

    def poll(self, now_ms):
        return self._note(self.synchronizer.poll(SECOND + round(now_ms * MS)))

    def trigger(self, stamp_ms, cameras=CAMERAS, at_ms=None):
        """All these cameras at one moment; the last result."""
        results = [self.add(camera, stamp_ms, at_ms) for camera in cameras]
        return next((result for result in results if result), None)

    def drive(self, triggers, period_ms=100.0, start_ms=0.0, cameras=CAMERAS):
        """Triggers with a poll each 10 ms in between."""
        for index in range(triggers):
            stamp_ms = start_ms + index * period_ms
            self.trigger(stamp_ms, cameras)
            for step in range(1, int(period_ms // 10)):
                self.poll(stamp_ms + 5 + 10 * step)

    def counters(self, camera):
        return self.synchronizer.counters[camera]

    def _note(self, frame_set):
        if frame_set:
            self.sets.append(frame_set)
        return frame_set


def states(frame_set):
    return {name: entry.state for name, entry in frame_set.entries.items() if entry.state is not InputState.OK}


def ms(frame_set):
    return (frame_set.reference_stamp_ns - START) / MS
