"""Two files that `sparse4d evaluate --output` wrote, side by side."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparse4d_ros.errors import UserError
from sparse4d_ros.evaluation import html_page as html

#: Headline numbers of ``scores``: label, whether more is better.
_HEADLINES = {"mean_ap": ("mAP", True), "nds": ("NDS", True), "mate": ("centre error ATE, m", False),
              "mase": ("scale error ASE", False), "maoe": ("heading error AOE, rad", False),
              "mave": ("velocity error AVE, m/s", False), "maae": ("attribute error AAE", False),
              "amota": ("AMOTA", True), "amotp": ("AMOTP, m", False), "mota": ("MOTA", True),
              "recall": ("tracking recall", True), "ids": ("identity switches", False),
              "frag": ("fragmentations", False)}
_TILES = ("mAP", "NDS", "AMOTA", "AMOTP, m", "identity switches")
_PART_VALUES = {"recall": ("Recall", True), "mean_ap": ("mAP", True), "centre_error_m": ("Centre error, m,", False)}
_NO_SUCH_FILE = "is not a file written by `sparse4d evaluate --output`"
#: Differences below what the tables show are none.
_SHOWN = 0.0005


@dataclass(frozen=True)
class Row:
    """One number of both files; None where a file has none."""

    label: str
    first: float | None
    second: float | None
    more_is_better: bool

    @property
    def difference(self) -> float | None:
        """The second less the first; None unless both are there."""
        return None if self.first is None or self.second is None else self.second - self.first

    @property
    def verdict(self) -> str:
        """``good`` or ``bad`` for the second file; empty where nothing changed that the tables show."""
        change = self.difference
        if change is None or abs(change) < _SHOWN:
            return ""
        return "good" if (change > 0) == self.more_is_better else "bad"


@dataclass(frozen=True)
class Comparison:
    """Rows in groups with a heading."""

    names: tuple[str, str]
    drives: tuple[str, ...]
    frames: int
    groups: tuple[tuple[str, tuple[Row, ...]], ...]


def compare_files(first: Path, second: Path) -> Comparison:
    """Read and pair two files; ``UserError`` if one is no such file, or if they are of different drives."""
    documents = _read(first), _read(second)
    _check_same_drives(first, second, *documents)
    names = (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))
    one, other = documents
    groups = [("Scores", _rows(_HEADLINES, one["scores"], other["scores"]))]
    groups.append(("AP by class", _pair(_by_class(one), _by_class(other), True)))
    groups += _parts(one, other)
    groups.append(("Trust", _trust(one, other)))
    groups.append(("Latency, median ms", _pair(_latency(one), _latency(other), False)))
    return Comparison(names, tuple(one["drives"]), one["scores"]["frames"],
                      tuple((title, tuple(rows)) for title, rows in groups if rows))


def comparison_table(comparison: Comparison) -> str:
    """The comparison as text: both numbers and their difference, and whether that is better or worse."""
    first, second = (name if len(name) <= 14 else f"…{name[-13:]}" for name in comparison.names)
    lines = []
    for title, rows in comparison.groups:
        lines += ["", f"{title:<34}{first:>15}{second:>15}{'difference':>13}"]
        for row in rows:
            mark = {"good": "  better", "bad": "  worse", "": ""}[row.verdict]
            change = "-" if row.difference is None else f"{row.difference:+.3f}"
            lines.append(f"{row.label:<34}{_plain(row.first):>15}{_plain(row.second):>15}{change:>13}{mark}")
    return "\n".join(lines[1:])


def comparison_page(comparison: Comparison) -> str:
    """The comparison as one HTML file."""
    first, second = comparison.names
    headline = {row.label: row for row in comparison.groups[0][1]}
    facts = [(label, html.number(row.second), _change(row)) for label in _TILES if (row := headline.get(label))]
    tables = [html.group(title, html.table(("", first, second, "difference"), [
        (html.escape(row.label.replace("_", " ")), html.number(row.first), html.number(row.second), _change(row))
        for row in rows])) for title, rows in comparison.groups]
    drives = ", ".join(comparison.drives)
    return html.page(f"{first} and {second}", f"Two evaluations on {drives}: {comparison.frames} frames. The large "
                     f"numbers are those of {second}, the differences are {second} less {first}.",
                     [html.tiles(facts), html.columns(*tables)],
                     "Green is better, red is worse. Every number is explained in docs/evaluation.md.")


def _read(path: Path) -> dict[str, Any]:
    """A file of ``--output``, checked as far as the comparison needs it."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} {_NO_SUCH_FILE}: it is not JSON ({error})") from None
    if not isinstance(document, dict) or not isinstance(scores := document.get("scores"), dict):
        raise UserError(f"{path} {_NO_SUCH_FILE}: it has no scores")
    drives = document.get("drives")
    if not isinstance(drives, list) or not all(isinstance(name, str) for name in drives):
        raise UserError(f"{path} {_NO_SUCH_FILE}: it has no list of drives")
    wrong = [name for name in (*_HEADLINES, "frames") if not _is_number(scores.get(name, "missing"))]
    classes = scores.get("classes")
    if not isinstance(classes, dict) or not all(
            isinstance(of, dict) and _is_number(of.get("ap", "missing")) and isinstance(of.get("true_boxes"), int)
            for of in classes.values()):
        wrong.append("classes")
    if wrong:
        raise UserError(f"{path} {_NO_SUCH_FILE}: its scores lack {', '.join(wrong)}")
    return document


def _is_number(value: Any) -> bool:
    """Whether JSON holds a number, or the null that stands for one that does not exist."""
    return value is None or isinstance(value, (int, float))


def _check_same_drives(first: Path, second: Path, one: dict, other: dict) -> None:
    """Same names, as many frames and true objects: names alone may be common, numbers alone may agree by chance."""
    if sorted(one["drives"]) != sorted(other["drives"]):
        raise UserError(f"{first} and {second} were made over different drives: {', '.join(sorted(one['drives']))} and "
                        f"{', '.join(sorted(other['drives']))}")
    counts = [{"frames": document["scores"]["frames"]} |
              {name: of["true_boxes"] for name, of in document["scores"]["classes"].items()}
              for document in (one, other)]
    if counts[0] != counts[1]:
        name = next(name for name in counts[0] | counts[1] if counts[0].get(name) != counts[1].get(name))
        raise UserError(f"{first} and {second} were made over different drives of the same names: {name}: "
                        f"{counts[0].get(name, 0)} and {counts[1].get(name, 0)}")


def _rows(values: dict[str, tuple[str, bool]], one: dict, other: dict) -> list[Row]:
    return [Row(label, one.get(key), other.get(key), more) for key, (label, more) in values.items()
            if one.get(key) is not None or other.get(key) is not None]


def _pair(one: dict[str, float], other: dict[str, float], more_is_better: bool) -> list[Row]:
    return [Row(name, one.get(name), other.get(name), more_is_better) for name in one | other]


def _by_class(document: dict) -> dict[str, float]:
    return {name: of["ap"] for name, of in document["scores"]["classes"].items()}


def _latency(document: dict) -> dict[str, float]:
    return {step: found["p50"] for step, found in document.get("latency_ms", {}).items()}


def _parts(one: dict, other: dict) -> list[tuple[str, list[Row]]]:
    """Groups of the breakdown; files without one have none of them."""
    if "breakdown" not in one or "breakdown" not in other:
        return []
    thresholds = [document["breakdown"]["score"] for document in (one, other)]
    out = []
    for key, title in (("by_range", "by distance"), ("by_visibility", "by visibility"), ("by_weather", "by weather")):
        parts = [{part["label"]: part for part in document["breakdown"].get(key, ())} for document in (one, other)]
        for value, (name, more) in _PART_VALUES.items():
            if value != "mean_ap" and thresholds[0] != thresholds[1]:
                continue  # at another score it is another quantity
            rows = [Row(label, parts[0][label][value], parts[1][label][value], more)
                    for label in parts[0] if label in parts[1]]
            at = "" if value == "mean_ap" else f", score {thresholds[0]:g}"
            out.append((f"{name} {title}{at}", rows))
    return out


def _trust(one: dict, other: dict) -> list[Row]:
    """Less is better throughout: a good correlation is -1."""
    flat = []
    for document in (one, other):
        trust = document.get("calibration", {})
        values = {f"Spearman {name}": found["correlation"]
                  for name, found in trust.get("spearman", {}).items() if found}
        if "expected_calibration_error" in trust:
            values["calibration error of the score"] = trust["expected_calibration_error"]
        flat.append(values)
    return _pair(flat[0], flat[1], False)


def _plain(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _change(row: Row) -> str:
    if row.difference is None:
        return "–"
    return f'<span class="{row.verdict}">{row.difference:+.3f}</span>'
