"""The vehicle's own motion as tf tells it: is it there for every picture, smooth, and along the vehicle's x axis?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from sparse4d_ros.data.bag_reader import FIXED_FRAMES
from sparse4d_ros.findings import FAIL, OK, SKIP, WARN, Finding
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.recording import Recording
from sparse4d_ros.rig_check.sets import frame_sets, reference_camera
from sparse4d_ros.rig_check.stamps import period_ns

#: Poses further apart than this are guessed over a curve, not known.
_LONG_GAP_MS = 200.0
#: Beyond what brakes and tyres do (m/s2) and how vehicles turn (deg/s); what a pose may be off by rounding.
_MAX_ACCELERATION, _MAX_TURN_DEG_S = 12.0, 90.0
_JUMP_M, _JUMP_DEG = 0.3, 3.0
_MAX_SPEED = 60.0
_MIN_STEP_NS = 20_000_000
#: Driving is judged where the vehicle moves for certain and nearly straight.
_DRIVING = 2.0
_STRAIGHT_DEG_S = 3.0
_WINDOW_NS = 500_000_000
_ASIDE_WARN_DEG, _ASIDE_FAIL_DEG = 3.0, 15.0


@dataclass(frozen=True)
class Motion:
    """Poses of the vehicle at the stamps at which they were sent."""

    fixed_frame: str
    #: ``[n]`` ascending, nanoseconds.
    stamps_ns: np.ndarray
    #: ``[n, 4, 4]`` fixed_from_vehicle.
    poses: np.ndarray


def read_motion(recording: Recording, settings: Settings) -> Motion | None:
    """The poses in the fixed frame of the parameters, else in ``odom`` or ``map``; None if there are none."""
    base = settings.base_frame
    for frame in (settings.fixed_frame, *FIXED_FRAMES):
        if recording.connected(frame, base) and (links := recording.tree.moving_links(frame, base)):
            stamps = sorted({stamp for link in links for stamp in recording.links[link].stamps_ns})
            stamps = [stamp for stamp in stamps if recording.tree.covers(frame, base, stamp)]
            if stamps:
                return Motion(frame, np.array(stamps, dtype=np.int64),
                              np.stack([recording.tree.lookup(frame, base, stamp) for stamp in stamps]))
    return None


def check_motion(recording: Recording, motion: Motion | None, settings: Settings) -> list[Finding]:
    """Findings about ``fixed_frame -> base_frame``."""
    wanted = f"{settings.fixed_frame} -> {settings.base_frame}"
    if motion is None:
        return [Finding(
            FAIL, "tf", wanted,
            f"nothing on /tf connects them; the bag has the frames {', '.join(recording.frames) or 'none'}",
            "publish odometry as this transform and record /tf; the parameters fixed_frame and base_frame name "
            "other frames")]
    subject = f"{motion.fixed_frame} -> {settings.base_frame}"
    findings = []
    if motion.fixed_frame != settings.fixed_frame:
        findings.append(Finding(
            WARN, "tf", wanted,
            f"does not exist; {subject} does, and was used here",
            f"set fixed_frame: {motion.fixed_frame}; if it is a localisation's frame its corrections are read as "
            "motion (REP-105)"))
    findings += _supply(recording, motion, subject, settings)
    return [*findings, *_jumps(motion, subject, settings), *_driving(motion, subject)]


def _supply(recording: Recording, motion: Motion, subject: str, settings: Settings) -> list[Finding]:
    """Rate, gaps, order, lateness, and whether every picture's time is covered."""
    findings = []
    for link in recording.tree.moving_links(motion.fixed_frame, settings.base_frame):
        stamps = recording.links[link]
        back = int((np.diff(stamps.stamps_ns) < 0).sum())
        if back:
            findings.append(Finding(
                WARN, "tf", subject,
                f"stamps of {link} go back {back} times",
                "see whether two nodes send this transform",
                {"backward": back}))
        late = float(np.percentile(stamps.latencies_ms, 95))
        if abs(late) > settings.tf_timeout_ms:
            findings.append(Finding(
                WARN, "tf", subject,
                f"{link} is recorded {late:.0f} ms after its stamps (95th percentile); the node waits "
                f"{settings.tf_timeout_ms:g} ms for transforms",
                "make odometry quicker or raise tf_timeout_ms; if it is negative or huge, its clock is another one",
                {"late_ms": late}))
    if len(motion.stamps_ns) < 2:
        return [*findings, Finding(FAIL, "tf", subject, "there is a single pose", "record /tf while driving")]
    gaps_ms, rate = np.diff(motion.stamps_ns) * 1e-6, 1e9 / period_ns(list(motion.stamps_ns))
    if gaps_ms.max() > _LONG_GAP_MS:
        at_s = (motion.stamps_ns[gaps_ms.argmax()] - motion.stamps_ns[0]) * 1e-9
        findings.append(Finding(
            WARN, "tf", subject,
            f"{(gaps_ms > _LONG_GAP_MS).sum()} gaps above {_LONG_GAP_MS:g} ms; the longest is {gaps_ms.max():.0f} "
            f"ms, {at_s:.1f} s after the first pose",
            "look at the load of the odometry's computer, and at the queue of the recorder",
            {"longest_gap_ms": float(gaps_ms.max())}))
    sets, reference = frame_sets(recording, settings), reference_camera(recording, settings)
    camera_rate = 1e9 / period_ns(recording.cameras[reference].pictures.stamps_ns) if reference else np.nan
    if rate < 0.9 * camera_rate:
        findings.append(Finding(
            WARN, "tf", subject,
            f"comes at {rate:.1f} Hz, slower than the cameras ({camera_rate:.1f} Hz)",
            "publish odometry at the cameras' rate or faster",
            {"rate_hz": rate}))
    outside = sum(not (motion.stamps_ns[0] <= min(members.values()) and max(members.values()) <= motion.stamps_ns[-1])
                  for members in sets)
    if outside > 2:  # recorders start and stop their topics one by one
        findings.append(Finding(
            FAIL if outside > 0.1 * len(sets) else WARN, "tf", subject,
            f"does not cover {outside} of {len(sets)} sets of pictures",
            "record /tf from before the first picture to after the last; compare the clocks of cameras and odometry",
            {"outside": outside}))
    return findings or [Finding(
        OK, "tf", subject,
        f"{len(motion.stamps_ns)} poses at {rate:.1f} Hz, longest gap {gaps_ms.max():.0f} ms",
        numbers={"rate_hz": rate, "longest_gap_ms": float(gaps_ms.max())})]


def _jumps(motion: Motion, subject: str, settings: Settings) -> list[Finding]:
    """Steps that no vehicle makes from one pose to the next."""
    kept = _apart(motion.stamps_ns)
    if len(kept) < 3:
        return []
    stamps_ns, poses = motion.stamps_ns[kept], motion.poses[kept]
    seconds = np.diff(stamps_ns) * 1e-9
    steps = np.diff(poses[:, :3, 3], axis=0)
    expected = np.zeros_like(steps)
    expected[1:] = steps[:-1] / seconds[:-1, None] * seconds[1:, None]
    expected[0] = steps[1] / seconds[1] * seconds[0]
    excess = np.linalg.norm(steps - expected, axis=1)
    allowed = _JUMP_M + _MAX_ACCELERATION * seconds * (seconds + np.roll(seconds, 1))
    relative = np.swapaxes(poses[:-1, :3, :3], 1, 2) @ poses[1:, :3, :3]
    turned = np.degrees(Rotation.from_matrix(relative).magnitude())
    jump = (excess > allowed) | (turned > _JUMP_DEG + _MAX_TURN_DEG_S * seconds)
    if not jump.any():
        return []
    count = int((jump & ~np.roll(jump, 1)).sum()) or 1  # a jump spoils the expectation of the step behind it too
    metres, degrees = float(excess[jump].max()), float(turned[jump].max())
    resets = metres > settings.max_ego_jump_m or degrees > settings.max_ego_jump_deg
    at_s = (stamps_ns[int(jump.argmax()) + 1] - stamps_ns[0]) * 1e-9
    return [Finding(
        FAIL if resets else WARN, "tf", subject,
        f"jumps {count} times, first {at_s:.1f} s after the first pose, by up to {metres:.1f} m and {degrees:.1f} deg"
        + ("; the node empties its memory there" if resets else ""),
        "use a continuous frame (odometry, not a localisation that corrects itself)",
        {"jumps": count, "metres": metres, "degrees": degrees})]


def _apart(stamps_ns: np.ndarray) -> list[int]:
    """Indices of stamps at least :data:`_MIN_STEP_NS` apart: over less, rounded positions make any speed."""
    kept = [0]
    for index, stamp in enumerate(stamps_ns):
        if stamp - stamps_ns[kept[-1]] >= _MIN_STEP_NS:
            kept.append(index)
    return kept


def _driving(motion: Motion, subject: str) -> list[Finding]:
    """Is the speed a vehicle's, and does the vehicle move along its own x axis where it drives straight?"""
    speeds, aside, straight = _velocities(motion)
    if not len(speeds):
        return [Finding(SKIP, "motion", subject, "too short to tell how the vehicle moves")]
    fastest = float(np.percentile(speeds, 99))
    if fastest > _MAX_SPEED:
        return [Finding(
            FAIL, "motion", subject,
            f"the vehicle would drive {fastest:.0f} m/s",
            "transforms are in metres; compare the stamps of odometry with its positions",
            {"fastest_m_s": fastest})]
    judged = straight & (speeds > _DRIVING)
    if judged.sum() < 3:
        return [Finding(
            SKIP, "motion", subject,
            f"the vehicle hardly drives straight (fastest {fastest:.1f} m/s): its axes were not checked",
            "record some 50 m on a straight road")]
    angle = float(np.degrees(np.arctan2(np.median(np.sin(aside[judged])), np.median(np.cos(aside[judged])))))
    numbers = {"fastest_m_s": fastest, "aside_deg": angle}
    if abs(angle) < _ASIDE_WARN_DEG:
        return [Finding(
            OK, "motion", subject,
            f"drives up to {fastest:.1f} m/s, and within {abs(angle):.1f} deg of its x axis where it drives straight",
            numbers=numbers)]
    if abs(angle) > 150:
        text, remedy = "moves backward", "base_link's x axis points forward (REP-105); or record while driving forward"
    else:
        text = f"moves {abs(angle):.1f} deg to the {'left' if angle > 0 else 'right'} of its x axis"
        remedy = (f"{'base_link or the odometry' if abs(angle) > _ASIDE_FAIL_DEG else 'base_link'} is rotated about "
                  "z: x "
                  "is forward, y left (REP-105)")
    return [Finding(
        FAIL if abs(angle) > _ASIDE_FAIL_DEG else WARN, "motion", subject,
        f"where it drives straight the vehicle {text}",
        remedy,
        numbers)]


def _velocities(motion: Motion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over windows of half a second: speed ``[n]`` m/s, its angle to the x axis ``[n]`` rad, and whether it is
    straight.

    Windows, because positions are rounded and poses may come at 200 Hz.
    """
    ends = np.searchsorted(motion.stamps_ns, motion.stamps_ns + _WINDOW_NS)
    starts = np.flatnonzero(ends < len(motion.stamps_ns))
    ends = ends[starts]
    seconds = (motion.stamps_ns[ends] - motion.stamps_ns[starts]) * 1e-9
    near = seconds < 3 * _WINDOW_NS * 1e-9
    starts, ends, seconds = starts[near], ends[near], seconds[near]
    moved = motion.poses[ends, :3, 3] - motion.poses[starts, :3, 3]
    # In the axes halfway through a window, a steady curve moves along x as well.
    local = np.einsum("nji,nj->ni", motion.poses[(starts + ends) // 2, :3, :3], moved)
    relative = np.swapaxes(motion.poses[starts, :3, :3], 1, 2) @ motion.poses[ends, :3, :3]
    turn = np.abs(np.degrees(np.arctan2(relative[:, 1, 0], relative[:, 0, 0]))) / seconds
    return np.linalg.norm(local, axis=1) / seconds, np.arctan2(local[:, 1], local[:, 0]), turn < _STRAIGHT_DEG_S
