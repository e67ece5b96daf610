"""Curves and scatter plots by matplotlib, as PNG in memory, in the colours of the other pictures."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from sparse4d_ros.evaluation import canvas
from sparse4d_ros.evaluation.calibration import Calibration, Quality
from sparse4d_ros.evaluation.matching import ClassMatches, Matches

_WIDTH_IN = 11.4
_DPI = 150
_PANEL, _LINE = canvas.hex_code(canvas.PANEL), canvas.hex_code(canvas.LINE)
_MUTED, _TEXT = canvas.hex_code(canvas.MUTED), canvas.hex_code(canvas.TEXT)
_ACCENT = canvas.CLASS_COLOURS["car"]
_TREND = canvas.CLASS_COLOURS["bus"]
_PER_ROW = 5
#: A trend is drawn through medians of this many groups of equal size.
_TREND_GROUPS = 12
#: The vertical axis goes on beyond the data by this factor, which leaves a strip for words.
_HEADROOM = 1.16


def precision_recall_chart(matches: Matches) -> bytes:
    """A panel for each class that occurs, with a curve for each matching distance and the class's AP; PNG."""
    present = sorted(matches.present, key=lambda of: -len(of.truth_places))
    rows = -(-len(present) // _PER_ROW)
    figure = Figure(figsize=(_WIDTH_IN, 0.55 + 2.35 * rows), dpi=_DPI, facecolor=_PANEL, layout="constrained")
    panels = figure.subplots(rows, _PER_ROW, squeeze=False, sharex=True, sharey=True)
    for position, axes in enumerate(panels.flat):
        if position >= len(present):
            axes.set_visible(False)
            continue
        _prepare(axes, (0, 1), (0, 1.02))
        axes.set_xticks([0, 0.5, 1.0])
        axes.set_yticks([0, 0.5, 1.0])
        _draw_curves(axes, present[position])
        last_of_column = position + _PER_ROW >= len(present)
        axes.tick_params(labelbottom=last_of_column)
        if last_of_column:
            axes.set_xlabel("recall", color=_MUTED, fontsize=9)
        if position % _PER_ROW == 0:
            axes.set_ylabel("precision", color=_MUTED, fontsize=9)
    distances = sorted(present[0].curves)
    handles = [panels.flat[0].plot([], [], color=_faded(canvas.MUTED, i, len(distances)), linewidth=1.8)[0]
               for i in range(len(distances))]
    figure.legend(handles, [f"within {distance:g} m" for distance in distances], loc="outside upper right",
                  ncols=len(distances), frameon=False, labelcolor=_TEXT, fontsize=9)
    return _png(figure)


def trust_chart(calibration: Calibration) -> bytes:
    """Score against precision, centerness against centre error, yawness against heading error, side by side; PNG."""
    figure = Figure(figsize=(_WIDTH_IN, 3.9), dpi=_DPI, facecolor=_PANEL, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_reliability(left, calibration)
    _draw_quality(middle, calibration.centerness, "centerness", "centre error, m", 1.0)
    _draw_quality(right, calibration.yawness, "yawness", "heading error, degrees", 180.0 / np.pi)
    right.set_ylim(0, 180 * _HEADROOM)
    right.set_yticks(np.linspace(0, 180, 5))
    return _png(figure)


def _draw_curves(axes: Axes, of: ClassMatches) -> None:
    distances = sorted(of.curves)
    for position, distance in enumerate(distances):
        curve = of.curves[distance]
        reached = slice(0, curve.max_recall_ind + 1)  # beyond it the devkit fills up with zeros
        axes.plot(curve.recall[reached], curve.precision[reached], linewidth=1.8,
                  color=_faded(canvas.class_colour(of.name), position, len(distances)))
    axes.set_title(of.name.replace("_", " "), loc="left", color=_TEXT, fontsize=10)
    ap = np.mean([of.metrics.get_label_ap(of.name, distance) for distance in distances])
    axes.text(0.96, 0.95, f"AP {ap:.3f}", transform=axes.transAxes, ha="right", va="top", color=_TEXT, fontsize=9)


def _draw_reliability(axes: Axes, calibration: Calibration) -> None:
    """Bars of precision by score, each with the number of objects that it rests on."""
    _prepare(axes, (0, 1), (0, _HEADROOM))
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.plot([0, 1], [0, 1], color=_TEXT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3, label="perfect")
    axes.legend(loc="upper left", frameon=False, labelcolor=_TEXT, fontsize=8.5)
    for row in calibration.reliability:
        if not row.count:
            continue
        middle = (row.low + row.high) / 2
        axes.bar(middle, row.precision, width=0.086, color=canvas.hex_code(_ACCENT), zorder=2)
        axes.text(middle, row.precision + 0.012, _brief(row.count), color=_TEXT, fontsize=7.5, ha="center", zorder=4,
                  path_effects=[withStroke(linewidth=2.5, foreground=_PANEL)])
    axes.set_title("Score against precision", loc="left", color=_TEXT, fontsize=10)
    axes.set_xlabel("score; numbers count reported objects", color=_MUTED, fontsize=9)
    axes.set_ylabel("share that is real (within 2 m)", color=_MUTED, fontsize=9)


def _draw_quality(axes: Axes, quality: Quality | None, name: str, label: str, scale: float) -> None:
    axes.set_title(f"{name.capitalize()} against error", loc="left", color=_TEXT, fontsize=10)
    errors = np.empty(0) if quality is None else quality.errors * scale
    top = float(errors.max()) if len(errors) and errors.max() > 0 else 1.0
    _prepare(axes, (0, 1), (0, top * _HEADROOM))
    axes.set_xlabel(name, color=_MUTED, fontsize=9)
    axes.set_ylabel(label, color=_MUTED, fontsize=9)
    if quality is None or not len(errors):
        words = f"the results carry no {name}" if quality is None else "no true positive to judge"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=_MUTED, fontsize=9)
        return
    strength = float(np.clip(60.0 / np.sqrt(len(errors)) / 2, 0.12, 0.8))
    axes.scatter(quality.values, errors, s=9, color=canvas.hex_code(_ACCENT), alpha=strength, linewidths=0,
                 rasterized=True)
    groups = np.array_split(np.argsort(quality.values, kind="stable"), min(_TREND_GROUPS, len(errors)))
    axes.plot([np.median(quality.values[group]) for group in groups], [np.median(errors[group]) for group in groups],
              color=canvas.hex_code(_TREND), linewidth=2.0, label="median")
    axes.legend(loc="upper left", frameon=False, labelcolor=_TEXT, fontsize=8.5)
    words = f"Spearman {quality.correlation:+.2f}" if np.isfinite(quality.correlation) else "Spearman –"
    axes.text(0.97, 0.955, f"{words}\n{len(errors)} true positives", transform=axes.transAxes, ha="right", va="top",
              color=_TEXT, fontsize=9)


def _prepare(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.set_facecolor(_PANEL)
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.grid(color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, labelsize=8, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_LINE)


def _faded(colour: canvas.Colour, position: int, count: int) -> str:
    """The colour of one of several like curves: the first stands back furthest."""
    return canvas.hex_code(canvas.mix(canvas.PANEL, colour, 0.25 + 0.75 * (position + 1) / count))


def _brief(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=_PANEL)
    return buffer.getvalue()
