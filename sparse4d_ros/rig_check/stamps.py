"""Each camera by itself: is there a picture at a steady rate, with stamps that can be trusted?"""

from __future__ import annotations

from statistics import median

import numpy as np

from sparse4d_ros.findings import FAIL, OK, WARN, Finding
from sparse4d_ros.node.settings import Settings
from sparse4d_ros.rig_check.recording import CameraRecord, Recording

#: An interval this many times the usual one has lost a picture.
_GAP = 1.5
_LOST_SHARE = 0.01
#: Intervals that differ from the usual one by this share are no shutter's, but a busy computer's.
_JITTER = 0.2
#: Stamps may lie this far ahead of the recorder's clock before it is called a fault of a clock.
_AHEAD_MS = 2.0
#: Stamps and log times further apart than this are of different clocks, not late.
_OTHER_CLOCK_MS = 10_000.0
#: A camera's latency beside that of the others: transport and encoding differ by less.
_LATENCY_APART_MS = 50.0
#: The latency may wander so far from the first fifth of a bag to the last.
_DRIFT_MS = 20.0


def check_stamps(recording: Recording, settings: Settings) -> list[Finding]:
    """Findings for every camera; one OK for a camera without fault."""
    latencies = {name: float(np.median(camera.pictures.latencies_ms)) for name, camera in recording.cameras.items()
                 if camera.pictures.stamps_ns}
    findings = []
    for name, camera in recording.cameras.items():
        if not camera.pictures.stamps_ns:
            where = f"{camera.image_topic} holds no message" if camera.image_topic else "no image topic has its name"
            findings.append(Finding(
                FAIL, "stamps", name,
                f"no pictures: {where}",
                "check that its driver runs and that the topic was recorded"))
            continue
        others = [value for other, value in latencies.items() if other != name]
        found = [*_order(camera, settings), *_rate(camera, settings),
                 *_latency(camera, median(others) if others else latencies[name], settings)]
        findings += found or [_fine(camera, latencies[name])]
    return findings


def period_ns(stamps_ns: list[int]) -> float:
    """The usual interval of stamps, whatever their order; nan for fewer than two."""
    steps = np.diff(np.unique(np.array(stamps_ns, dtype=np.int64)))
    return float(np.median(steps)) if len(steps) else float("nan")


def _fine(camera: CameraRecord, latency_ms: float) -> Finding:
    stamps = camera.pictures.stamps_ns
    period = period_ns(stamps)
    if np.isnan(period):
        return Finding(
            OK, "stamps", camera.name,
            f"1 picture, recorded {latency_ms:.0f} ms after its stamp",
            numbers={"pictures": 1, "latency_ms": latency_ms})
    gap_s = float(np.diff(stamps).max() * 1e-9)
    return Finding(
        OK, "stamps", camera.name,
        f"{len(stamps)} pictures at {1e9 / period:.2f} Hz, longest gap {gap_s * 1e3:.0f} ms, recorded "
        f"{latency_ms:.0f} ms after their stamps",
        numbers={"pictures": len(stamps), "rate_hz": 1e9 / period, "longest_gap_s": gap_s, "latency_ms": latency_ms})


def _order(camera: CameraRecord, settings: Settings) -> list[Finding]:
    stamps = np.array(camera.pictures.stamps_ns, dtype=np.int64)
    findings = []
    if zero := int((stamps == 0).sum()):
        findings.append(Finding(
            FAIL, "stamps", camera.name,
            f"{zero} of {len(stamps)} pictures have the stamp 0",
            "let the driver fill header.stamp with the time of the exposure",
            {"zero": zero}))
        stamps = stamps[stamps != 0]
    if twice := len(stamps) - len(np.unique(stamps)):
        findings.append(Finding(
            WARN, "stamps", camera.name,
            f"{twice} pictures carry a stamp that was there before",
            f"see whether two drivers publish on {camera.image_topic}",
            {"duplicates": twice}))
    backward_ms = -np.diff(stamps) * 1e-6
    backward_ms = backward_ms[backward_ms > 0]
    if len(backward_ms):
        resets = backward_ms.max() > settings.reset_on_backward_jump_ms
        findings.append(Finding(
            FAIL if resets else WARN, "stamps", camera.name,
            f"stamps go back {len(backward_ms)} times, by up to {backward_ms.max():.0f} ms"
            + (": the node would empty its memory" if resets else ": the node would drop these pictures"),
            "look for a clock that is being set (NTP steps), a looped bag or pictures that overtake each other",
            {"backward": len(backward_ms), "largest_ms": float(backward_ms.max())}))
    return findings


def _rate(camera: CameraRecord, settings: Settings) -> list[Finding]:
    stamps = np.unique(np.array([stamp for stamp in camera.pictures.stamps_ns if stamp], dtype=np.int64))
    if len(stamps) < 3:
        return []
    steps, period = np.diff(stamps), period_ns(list(stamps))
    findings = []
    lost = int(np.round(steps[steps > _GAP * period] / period - 1).sum())
    longest_s = float(steps.max() * 1e-9)
    if lost > _LOST_SHARE * len(stamps) or longest_s > settings.max_interval_s:
        findings.append(Finding(
            WARN, "stamps", camera.name,
            f"about {lost} pictures are missing of {len(stamps) + lost} at "
            f"{1e9 / period:.2f} Hz; the longest gap is {longest_s:.2f} s"
            + (f", beyond max_interval_s ({settings.max_interval_s:g} s): tracks start anew"
               if longest_s > settings.max_interval_s else ""),
            "look at the load of the camera's computer, at its network, and at the disk while recording",
            {"lost": lost, "longest_gap_s": longest_s, "rate_hz": 1e9 / period}))
    steady = steps[steps <= _GAP * period]
    jitter = float(np.percentile(np.abs(steady - period), 95) / period)
    if jitter > _JITTER:
        findings.append(Finding(
            WARN, "stamps", camera.name,
            f"intervals scatter by {jitter:.0%} of {period * 1e-6:.0f} ms (95th percentile): stamps look like times "
            "of arrival",
            "let the driver stamp the exposure, by hardware trigger or the camera's own clock",
            {"jitter_share": jitter}))
    return findings


def _latency(camera: CameraRecord, others_ms: float, settings: Settings) -> list[Finding]:
    latencies = camera.pictures.latencies_ms[np.array(camera.pictures.stamps_ns) != 0]
    if not len(latencies):
        return []
    usual = float(np.median(latencies))
    numbers = {"latency_ms": usual, "others_ms": others_ms}
    if abs(usual) > _OTHER_CLOCK_MS:
        return [Finding(
            FAIL, "stamps", camera.name,
            f"stamps lie {usual / 1e3:.1f} s before the time of recording: they are of another clock than the "
            "recorder's",
            "synchronise the camera's clock with the computer (PTP), or stamp in the driver",
            numbers)]
    findings = []
    if usual < -_AHEAD_MS:
        findings.append(Finding(
            WARN, "stamps", camera.name,
            f"stamps are {-usual:.0f} ms ahead of the recorder's clock",
            "synchronise both clocks (PTP)",
            numbers))
    elif usual > settings.sustained_delay_ms:
        findings.append(Finding(
            WARN, "stamps", camera.name,
            f"pictures arrive {usual:.0f} ms after their stamps",
            "look at exposure, encoding and network: objects are that old before the network sees them",
            numbers))
    if abs(usual - others_ms) > _LATENCY_APART_MS:
        findings.append(Finding(
            WARN, "stamps", camera.name,
            f"pictures arrive {usual:.0f} ms after their stamps, those of the other cameras {others_ms:.0f} ms",
            "find out whether this camera's clock is off, or its driver stamps another moment than the others'",
            numbers))
    fifth = len(latencies) // 5
    drift = float(np.median(latencies[-fifth:]) - np.median(latencies[:fifth])) if fifth >= 3 else 0.0
    if abs(drift) > _DRIFT_MS:
        findings.append(Finding(
            WARN, "stamps", camera.name,
            f"the time from stamp to recording wanders by {drift:+.0f} ms over the bag",
            "its clock runs free, or a queue fills up: synchronise it (PTP) and look at the load",
            {"drift_ms": drift}))
    return findings
