"""The page of one evaluation: headline numbers, tables, curves, the worst frames, identity switches."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from sparse4d_ros.evaluation import html_page as html
from sparse4d_ros.evaluation.assessment import Assessment
from sparse4d_ros.evaluation.breakdown import Part
from sparse4d_ros.evaluation.calibration import Calibration
from sparse4d_ros.evaluation.charts import precision_recall_chart, trust_chart
from sparse4d_ros.evaluation.misses import NEAR_M, VISIBLE, BadFrame
from sparse4d_ros.evaluation.pictures import FramePainter, paint_drive
from sparse4d_ros.evaluation.report import score_facts
from sparse4d_ros.evaluation.sources import Source

_JPEG_QUALITY = 88
#: Rows of a table that a person would still read.
_SHOWN_SWITCHES = 40

#: A bad frame and its picture as JPEG.
Painted = tuple[BadFrame, bytes]


def paint_worst(assessment: Assessment, sources: Sequence[Source], worst: Sequence[BadFrame]) -> list[Painted]:
    """The pictures of bad frames, in their order; ``sources`` are those of the assessment's drives."""
    pictures: dict[tuple[int, int], bytes] = {}
    for d in sorted({bad.drive for bad in worst}):
        painter = FramePainter(f"sparse4d · {sources[d].name}", score_facts(assessment.scores),
                               assessment.breakdown.score)
        only = {bad.stamp_ns for bad in worst if bad.drive == d}
        for stamp_ns, picture in paint_drive(painter, sources[d].frames(), assessment.drives[d].results, only):
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            pictures[d, stamp_ns] = jpeg.tobytes()
    return [(bad, pictures[bad.drive, bad.stamp_ns]) for bad in worst]


def evaluation_page(assessment: Assessment, subject: str, painted: Sequence[Painted]) -> str:
    """The page; ``subject`` says what was evaluated."""
    scores, names = assessment.scores, [drive.name for drive in assessment.drives]
    what = names[0] if len(names) == 1 else f"{len(names)} drives: {', '.join(names)}"
    missing = f", {scores.missing_frames} of them without a result (counted as if nothing was seen)"
    parts = [
        _headline(assessment),
        html.section("Scores by class", _class_table(assessment)),
        html.section("By distance, visibility and weather", _breakdown(assessment)),
        html.section("Precision and recall", html.figure(
            precision_recall_chart(assessment.matches), "png", "precision over recall, class by class",
            "Each curve accepts a match within another distance between the centres; AP is the mean of the four.")),
        html.section("Can its numbers be trusted?", html.figure(
            trust_chart(assessment.calibration), "png", "score against precision, and quality against error",
            "Left: bars that end on the dashed line would be a perfectly calibrated score. Middle and right: a useful "
            "measure of quality falls as the error grows, so its rank correlation is negative."),
            html.details("Table of score against precision", _reliability_table(assessment.calibration))),
        html.section("Worst frames", *_worst(assessment, painted)),
        html.section("Identity switches", *_switches(assessment)),
    ]
    return html.page("Sparse4D evaluation", f"{subject} on {what}. {scores.frames} frames with ground truth"
                     f"{missing if scores.missing_frames else ''}.", parts,
                     "mAP, NDS and tracking scores are computed by the nuScenes devkit over the classes that occur. "
                     "Attributes follow from speed on both sides. Every number is explained in docs/evaluation.md.")


def _headline(assessment: Assessment) -> str:
    scores = assessment.scores
    facts = [("mAP", html.number(scores.mean_ap), ""), ("NDS", html.number(scores.nds), ""),
             ("AMOTA", html.number(scores.amota), ""), ("AMOTP, m", html.number(scores.amotp, 2), ""),
             ("centre error, m", html.number(scores.mate, 2), ""),
             ("identity switches", html.number(scores.ids, 0),
              f"{html.number(scores.ids_per_100_s, 1)} in 100 object-seconds")]
    if "total" in assessment.latency_ms:
        facts.append(("ms a frame, median", html.number(assessment.latency_ms["total"][0], 0), ""))
    return html.tiles(facts)


def _class_table(assessment: Assessment) -> str:
    scores = assessment.scores
    header = ("class", "objects", "AP", "ATE m", "ASE", "AOE rad", "AVE m/s", "AAE", "AMOTA", "AMOTP m", "MOTA",
              "recall", "IDS", "frag")
    rows = [(html.class_cell(name), str(of.true_boxes), html.share(of.ap),
             *(html.number(value) for value in (of.ate, of.ase, of.aoe, of.ave, of.aae, of.amota, of.amotp, of.mota,
                                                of.recall)),
             html.number(of.ids, 0), html.number(of.frag, 0))
            for name, of in sorted(scores.classes.items(), key=lambda item: -item[1].true_boxes)]
    total = ("all", str(sum(of.true_boxes for of in scores.classes.values())), html.share(scores.mean_ap),
             *(html.number(value) for value in (scores.mate, scores.mase, scores.maoe, scores.mave, scores.maae,
                                                scores.amota, scores.amotp, scores.mota, scores.recall)),
             html.number(scores.ids, 0), html.number(scores.frag, 0))
    return html.table(header, rows, total)


def _breakdown(assessment: Assessment) -> str:
    found = assessment.breakdown
    words = (f"Recall and centre error: objects reported with a score of at least {found.score:g}, matched within "
             f"{assessment.matches.distance_m:g} m. mAP: all scores, classes that occur in the part. False alarms "
             "count in the range they lie in; for visibility all of them count in every part, so its mAP is for "
             "comparing models.")
    return html.note(words) + html.columns(
        *(html.group(title.capitalize(), _part_table(parts)) for title, parts in found.groups.items()))


def _part_table(parts: Sequence[Part]) -> str:
    return html.table(("", "objects", "recall", "mAP", "error m"), [
        (escape(part.label), str(part.true_boxes), html.share(part.recall), html.share(part.mean_ap),
         html.number(part.centre_error_m, 2)) for part in parts])


def _reliability_table(calibration: Calibration) -> str:
    rows = [(f"{row.low:.1f} to {row.high:.1f}", str(row.count), html.number(row.mean_score), html.share(row.precision))
            for row in calibration.reliability]
    return html.table(("score", "reported", "mean score", "precision"), rows) + \
        html.note(f"Mean distance between score and precision, weighted by count: "
                  f"{html.number(calibration.expected_error)}.")


def _worst(assessment: Assessment, painted: Sequence[Painted]) -> list[str]:
    told = f"objects within {NEAR_M:g} m that are at least {VISIBLE:.0%} visible"
    if not painted:
        return [html.note(f"No frame is shown: none was asked for, or none misses any of the {told}.")]
    out = [html.note(f"Most missed of the {told}, at a score of {assessment.breakdown.score:g}; a second apart at "
                     "least. White outlines are the ground truth, filled boxes what was reported.")]
    for bad, jpeg in painted:
        name = assessment.drives[bad.drive].name
        missed = ", ".join(f"{count} {label.replace('_', ' ')}" for label, count in bad.missed.items())
        out.append(html.figure(jpeg, "jpeg", f"{name} at {bad.seconds:.1f} s",
                               f"<b>{bad.misses} of {bad.visible} missed</b> · {escape(name)} at {bad.seconds:.1f} s · "
                               f"{escape(missed)}"))
    return out


def _switches(assessment: Assessment) -> list[str]:
    switches = assessment.switches
    if not switches:
        return [html.note("No object changed its track.")]
    text = (f"{len(switches)} times a true object was reported under another track number than before, at a score of "
            f"{assessment.breakdown.score:g}. The devkit's IDS above rests on another threshold and leaves out classes "
            "that do not move.")
    if len(switches) > _SHOWN_SWITCHES:
        text += f" The first {_SHOWN_SWITCHES} are shown; --output holds all."
    rows = [(html.class_cell(switch.name), escape(assessment.drives[switch.drive].name), f"{switch.seconds:.1f}",
             html.number(switch.range_m, 1), f"{switch.old_track} → {switch.new_track}", html.number(switch.gap_s, 1))
            for switch in switches[:_SHOWN_SWITCHES]]
    gaps = np.array([switch.gap_s for switch in switches])
    return [html.note(text), html.table(("class", "drive", "at s", "range m", "track", "after s"), rows),
            html.note(f"Median time between the last report under the old number and the first under the new: "
                      f"{np.median(gaps):.1f} s.")]
