"""One HTML file that needs nothing else: style, pictures and numbers in it, no script, no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape

from sparse4d_ros.evaluation import canvas

#: What helps and what hurts, for differences.
GOOD, BAD = canvas.CLASS_COLOURS["pedestrian"], canvas.ALERT
_ACCENT = canvas.CLASS_COLOURS["car"]
_EDGE = canvas.LINE

_STYLE = f"""
:root {{ color-scheme: dark; }}
body {{ margin: 0; background: {canvas.hex_code(canvas.BACKGROUND)}; color: {canvas.hex_code(canvas.TEXT)};
  font: 15px/1.5 "Segoe UI", system-ui, -apple-system, Roboto, "DejaVu Sans", sans-serif; }}
main {{ max-width: 1180px; margin: 0 auto; padding: 36px 24px 64px; }}
h1 {{ font-size: 28px; margin: 0 0 4px; font-weight: 650; letter-spacing: -0.01em; }}
h2 {{ font-size: 19px; margin: 44px 0 4px; font-weight: 600; }}
h3 {{ font-size: 15px; margin: 20px 0 4px; font-weight: 600; }}
p {{ margin: 4px 0 12px; max-width: 84ch; }}
p.note, figcaption, summary, footer {{ color: {canvas.hex_code(canvas.MUTED)}; font-size: 13.5px; }}
footer {{ margin-top: 48px; border-top: 1px solid {canvas.hex_code(_EDGE)}; padding-top: 12px; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 12px; margin: 24px 0 8px; }}
.tile {{ background: {canvas.hex_code(canvas.PANEL)}; border-radius: 10px; padding: 12px 16px;
  font-size: 13px; color: {canvas.hex_code(canvas.MUTED)}; }}
.tile b {{ display: block; color: {canvas.hex_code(canvas.TEXT)}; font-size: 26px; font-weight: 650;
  font-variant-numeric: tabular-nums; }}
.columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 0 32px; }}
.columns > div {{ min-width: 0; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }}
th {{ color: {canvas.hex_code(canvas.MUTED)}; font-weight: 500; text-align: right; white-space: nowrap; }}
th, td {{ padding: 5px 10px; border-bottom: 1px solid {canvas.hex_code(_EDGE)}; }}
td {{ text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 2px; }}
tr.total td {{ font-weight: 650; border-bottom: none; }}
.dot {{ display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 9px; }}
.bar {{ display: inline-block; width: 72px; height: 7px; border-radius: 4px; margin-right: 10px; vertical-align: 1px;
  background: {canvas.hex_code(_EDGE)}; }}
.bar i {{ display: block; height: 100%; border-radius: 4px; background: {canvas.hex_code(_ACCENT)}; }}
.good {{ color: {canvas.hex_code(GOOD)}; }} .bad {{ color: {canvas.hex_code(BAD)}; }}
figure {{ margin: 16px 0 24px; }}
img {{ display: block; width: 100%; height: auto; border-radius: 10px; }}
figcaption {{ margin-top: 6px; }} figcaption b {{ color: {canvas.hex_code(canvas.TEXT)}; font-weight: 600; }}
summary {{ cursor: pointer; margin: 8px 0; }}
"""


def page(title: str, subtitle: str, parts: Iterable[str], footer: str = "") -> str:
    """The whole file; ``parts`` are HTML, the other arguments plain text."""
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
            f"<style>{_STYLE}</style></head>\n<body><main>\n<h1>{escape(title)}</h1>\n{note(subtitle)}\n"
            + "\n".join(parts) + f"\n<footer>{escape(footer)}</footer></main></body></html>\n")


def section(title: str, *parts: str) -> str:
    """A heading above parts of HTML."""
    return f"<h2>{escape(title)}</h2>\n" + "\n".join(parts)


def group(title: str, *parts: str) -> str:
    """A smaller heading above parts of HTML, kept together where :func:`columns` lays groups out."""
    return f"<div><h3>{escape(title)}</h3>" + "\n".join(parts) + "</div>"


def columns(*groups: str) -> str:
    """Groups side by side where there is room."""
    return f'<div class="columns">{"".join(groups)}</div>'


def note(text: str) -> str:
    """A line of small print."""
    return f'<p class="note">{escape(text)}</p>'


def tiles(facts: Iterable[tuple[str, str, str]]) -> str:
    """Headline numbers: label, value (plain text) and HTML that stands behind the label."""
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span> {more}</div>'
        for label, value, more in facts) + "</div>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], total: Sequence[str] | None = None) -> str:
    """A table of cells that are HTML already; the first column is words, the others numbers."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    last = "" if total is None else f'<tr class="total">{"".join(f"<td>{cell}</td>" for cell in total)}</tr>'
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}{last}</tbody></table></div>'


def details(summary: str, content: str) -> str:
    """HTML that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def figure(image: bytes, kind: str, alt: str, caption: str) -> str:
    """An embedded picture (``kind`` is ``png`` or ``jpeg``) with a caption in HTML."""
    data = base64.b64encode(image).decode("ascii")
    return (f'<figure><img alt="{escape(alt)}" src="data:image/{kind};base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>")


def class_cell(name: str) -> str:
    """A class with its colour."""
    colour = canvas.hex_code(canvas.class_colour(name))
    return f'<span class="dot" style="background:{colour}"></span>{escape(name.replace("_", " "))}'


def number(value: float | None, digits: int = 3) -> str:
    """A number; an en dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A number in 0..1 behind a bar of its length."""
    if value is None or not math.isfinite(value):
        return "–"
    return f'<span class="bar"><i style="width:{100 * min(max(value, 0.0), 1.0):.0f}%"></i></span>{value:.3f}'
