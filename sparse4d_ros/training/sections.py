"""Dataclasses from the mappings of a YAML file, every key and every type checked."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, TypeVar

from sparse4d_ros.errors import UserError

Section = TypeVar("Section")


def build_section(section: type[Section], content: Any, where: str) -> Section:
    """A dataclass from a mapping, recursively; every key must be a field and every value of its type."""
    if not isinstance(content, dict):
        raise UserError(f"{where} must be a mapping of keys to values, not {content!r}")
    types = typing.get_type_hints(section)
    known = {f.name: f for f in dataclasses.fields(section) if f.init}
    for key in content:
        if key not in known:
            raise UserError(f"{where} has the unknown key {key!r}; known are {', '.join(sorted(known))}")
    for name, f in known.items():
        if name not in content and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{where} lacks the key {name!r}")
    values = {key: _convert(types[key], value, f"{where}: {key}") for key, value in content.items()}
    return section(**values)


def _convert(wanted: Any, value: Any, where: str) -> Any:
    """The value as the annotated type; ``UserError`` naming the key otherwise."""
    if dataclasses.is_dataclass(wanted):
        return build_section(wanted, value, where)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise UserError(f"{where} must be a list, not {value!r}")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise UserError(f"{where} must have {len(arguments)} entries, not {len(value)}")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a mapping, not {value!r}")
        return {str(k): _convert(arguments[1], item, f"{where}: {k}") for k, item in value.items()}
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise UserError(f"{where} must be of type {wanted.__name__}, not {value!r}")
    return value
