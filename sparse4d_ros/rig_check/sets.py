"""The cameras among each other: do their pictures fall into sets as the node's synchronizer forms them?"""

from __future__ import annotations

import numpy as np

from sparse4d_ros.data import camera_sets
from sparse4d_ros.findings import FAIL, OK, SKIP, WARN, Finding
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.recording import Recording
from sparse4d_ros.rig_check.stamps import period_ns

#: Offsets this near to the limit leave no room for jitter.
_NEAR_LIMIT = 0.8
#: Triggered cameras keep their offset within this share of the period.
_WANDERS = 0.25
_MISSING_SHARE = 0.05
_RATES_APART = 0.1


def reference_camera(recording: Recording, settings: Settings) -> str:
    """The camera that sets are formed around: the parameter's, or the first one with pictures."""
    with_pictures = [name for name, camera in recording.cameras.items() if camera.pictures.stamps_ns]
    if settings.reference_camera in with_pictures:
        return settings.reference_camera
    return with_pictures[0] if with_pictures else ""


def frame_sets(recording: Recording, settings: Settings) -> list[dict[str, int]]:
    """``{camera: stamp}`` for each stamp of the reference camera, as far as cameras lie within the spread allowed."""
    stamps = {name: camera.pictures.stamps_ns for name, camera in recording.cameras.items()}
    reference = reference_camera(recording, settings)
    return camera_sets.group(stamps, reference, round(settings.max_stamp_spread_ms * 1e6)) if reference else []


def check_sets(recording: Recording, settings: Settings) -> list[Finding]:
    """One finding for each camera but the reference, and one for the sets."""
    reference = reference_camera(recording, settings)
    others = [name for name, camera in recording.cameras.items() if name != reference and camera.pictures.stamps_ns]
    if not others:
        return [Finding(SKIP, "sets", reference or "cameras", "there is no second camera with pictures")]
    sets = frame_sets(recording, settings)
    arrival = {name: dict(zip(camera.pictures.stamps_ns, camera.pictures.log_ns, strict=True))
               for name, camera in recording.cameras.items()}
    findings = []
    for name in others:
        offsets_ms = np.array([(members[name] - members[reference]) * 1e-6 for members in sets if name in members])
        waits_ms = np.array([(arrival[name][members[name]] - arrival[reference][members[reference]]) * 1e-6
                             for members in sets if name in members])
        findings += _of_camera(recording, name, reference, offsets_ms, waits_ms, len(sets), settings)
    complete = [members for members in sets if len(members) == len(recording.cameras)]
    spreads_ms = [(max(members.values()) - min(members.values())) * 1e-6 for members in complete]
    text = f"{len(complete)} of {len(sets)} sets have all {len(recording.cameras)} cameras"
    if complete:
        text += f"; their stamps lie {max(spreads_ms):.0f} ms apart at most"
    level = OK if len(complete) >= (1 - _MISSING_SHARE) * len(sets) else FAIL
    findings.append(Finding(
        level, "sets", "all cameras",
        text,
        "" if level == OK else "the node drops a set that lacks a camera (parameter min_cameras)",
        {"sets": len(sets), "complete": len(complete)}))
    return findings


def _of_camera(recording: Recording, name: str, reference: str, offsets_ms: np.ndarray, waits_ms: np.ndarray,
               count: int, settings: Settings) -> list[Finding]:
    limit_ms, findings = settings.max_stamp_spread_ms, []
    own, other = (np.array(recording.cameras[camera].pictures.stamps_ns, dtype=np.int64)
                  for camera in (name, reference))
    period, reference_period = period_ns(list(own)), period_ns(list(other))
    missing = 1 - len(offsets_ms) / count
    if missing > 0:
        nearest_ms = np.array([own[np.abs(own - stamp).argmin()] - stamp for stamp in other]) * 1e-6
        usual = float(np.median(nearest_ms))
        level = FAIL if missing > _MISSING_SHARE else WARN
        findings.append(Finding(
            level, "sets", name,
            f"no picture within {limit_ms:g} ms of {reference}'s for {missing:.0%} of the sets; its nearest lies "
            f"{usual:+.0f} ms away",
            "trigger the cameras together and synchronise their clocks; max_stamp_spread_ms is the limit",
            {"missing_share": missing, "nearest_ms": usual}))
    if not len(offsets_ms):
        return findings
    middle = float(np.median(offsets_ms))
    numbers = {"offset_ms": middle, "largest_ms": float(np.abs(offsets_ms).max())}
    if np.abs(offsets_ms).max() > _NEAR_LIMIT * limit_ms:
        findings.append(Finding(
            WARN, "sets", name,
            f"fires up to {np.abs(offsets_ms).max():.0f} ms from {reference}, near the limit of {limit_ms:g} ms",
            "trigger the cameras together",
            numbers))
    if abs(period / reference_period - 1) > _RATES_APART:
        findings.append(Finding(
            WARN, "sets", name,
            f"runs at {1e9 / period:.2f} Hz and {reference} at {1e9 / reference_period:.2f} Hz",
            "give all cameras one rate",
            {"rate_hz": 1e9 / period}))
    elif (wanders := float(np.ptp(np.percentile(offsets_ms, [5, 95])))) > _WANDERS * reference_period * 1e-6:
        findings.append(Finding(
            WARN, "sets", name,
            f"its offset from {reference} wanders by {wanders:.0f} ms: the two are not triggered together",
            "use a common trigger, or expect moving objects to be smeared between cameras",
            {"wanders_ms": wanders}))
    if (late := float(np.percentile(waits_ms, 95))) > settings.max_wait_ms:
        findings.append(Finding(
            WARN, "sets", name,
            f"its pictures arrive {late:.0f} ms after {reference}'s (95th percentile); the node waits "
            f"{settings.max_wait_ms:g} ms",
            "raise max_wait_ms, or make this camera quicker",
            {"arrives_ms": late}))
    return findings or [Finding(
        OK, "sets", name,
        f"fires {middle:+.0f} ms from {reference} ({offsets_ms.min():+.0f} to {offsets_ms.max():+.0f}); the limit "
        f"is {limit_ms:g} ms",
        numbers=numbers)]
