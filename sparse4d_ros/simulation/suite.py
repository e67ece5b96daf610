"""A suite: a file that names the towns of a set of drives and how they are rendered.

Scores are comparable only on the same drives. A suite fixes them once and for all::

    split: test
    variety: full
    size: 352x128
    drives:
      - {seeds: "11000:11016", rate: 10, duration: 8}
      - {seeds: "11016:11032", rate: 2, duration: 16}
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sparse4d_ros.errors import UserError

_COMMON = ("split", "variety", "size")
_EACH = ("seeds", "rate", "duration")


def read_suite(path: str | Path, parsers: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """The options of `sparse4d simulate` for each entry of the file's ``drives``.

    ``parsers`` turn the text of an option into its value, as on the command line. Raises ``UserError``
    naming file and entry for whatever is missing, unknown or wrong, and for a town that stands there twice.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"the suite {path} cannot be read: {error}") from None
    _check_keys(content, (*_COMMON, "drives"), str(path))
    if not isinstance(content["drives"], list) or not content["drives"]:
        raise UserError(f"{path}: drives must be a list with at least one entry")
    common = {name: _value(content[name], parsers[name], f"{path}: {name}") for name in _COMMON}
    out, known = [], set()
    for number, entry in enumerate(content["drives"], 1):
        where = f"{path}: entry {number} of drives"
        _check_keys(entry, _EACH, where)
        options = common | {name: _value(entry[name], parsers[name], f"{where}: {name}") for name in _EACH}
        twice = known.intersection(options["seeds"])
        if twice:
            raise UserError(f"{where}: the town {min(twice)} stands there twice")
        known.update(options["seeds"])
        out.append(options)
    return out


def _check_keys(content: Any, wanted: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{where} must have the keys {', '.join(wanted)}")
    for name in content:
        if name not in wanted:
            raise UserError(f"{where}: unknown key {name!r}; known are {', '.join(wanted)}")
    for name in wanted:
        if name not in content:
            raise UserError(f"{where}: {name} is missing")


def _value(value: Any, parse: Callable[[str], Any], where: str) -> Any:
    try:
        return parse(str(value))
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from None
