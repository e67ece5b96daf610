"""All faults by name, how people ask for them, and what they are told of them (docs/fault_injection.md)."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from sparse4d_ros.data import fault_calibration, fault_cameras, fault_time, fault_transforms
from sparse4d_ros.data.fault import Fault, MessageFault, plain
from sparse4d_ros.errors import UserError

#: The faults of each family: the classes of its module that promise something.
FAMILIES: dict[str, tuple[type[Fault], ...]] = {
    family: tuple(found for found in vars(module).values()
                  if isinstance(found, type) and hasattr(found, "promise") and found.__module__ == module.__name__)
    for family, module in (("cameras", fault_cameras), ("calibration", fault_calibration),
                           ("tf", fault_transforms), ("time", fault_time))
}
FAULTS: dict[str, type[Fault]] = {fault.name(): fault for faults in FAMILIES.values() for fault in faults}


def parse(text: str) -> Fault:
    """The fault of text like ``drop:camera=front,probability=0.3``. ``UserError`` names what is wrong."""
    name, _, rest = text.partition(":")
    fields = {}
    for word in filter(None, rest.split(",")):
        key, equals, value = word.partition("=")
        if not equals or key in fields:
            raise UserError(f"{word!r} in the fault {text!r} is not of the form field=value, or stands there twice")
        fields[key] = value
    return _make(name, fields)


def read_file(path: Path) -> list[Fault]:
    """The faults of a YAML file: a list of ``name: {field: value}``. ``UserError`` names the file."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(entries, list):
        raise UserError(f"{path} is not a list of faults like `- drop: {{camera: front}}`")
    faults = []
    for number, entry in enumerate(entries, 1):
        try:
            faults.append(_of_entry(entry))
        except UserError as error:
            raise UserError(f"{path}: entry {number}: {error}") from error
    return faults


def _of_entry(entry: Any) -> Fault:
    """The fault of one entry of a file."""
    entry = {entry: {}} if isinstance(entry, str) else entry
    if isinstance(entry, dict) and len(entry) == 1:
        (name, fields), = entry.items()
        if isinstance(fields, dict) and all(isinstance(value, (str, int, float)) for value in fields.values()):
            return _make(str(name), {str(key): str(value) for key, value in fields.items()})
    raise UserError("this is not of the form `- drop: {camera: front}`")


def _make(name: str, fields: dict[str, str]) -> Fault:
    if name not in FAULTS:
        raise UserError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
    return FAULTS[name].make(fields)


def add_options(parser: argparse.ArgumentParser) -> None:
    """--fault, --faults, --seed and --list-faults."""
    parser.add_argument("--fault", action="append", default=[], metavar="NAME:FIELD=VALUE,...",
                        help="break something, for example drop:camera=front,probability=0.3; may be given again")
    parser.add_argument("--faults", type=Path, metavar="FILE",
                        help="the same as a YAML list of `- name: {field: value}`")
    parser.add_argument("--seed", type=int, default=0, help="of all chance in faults (default 0)")
    parser.add_argument("--list-faults", action=_List, help="explain every fault and exit")


def from_options(args: argparse.Namespace) -> list[Fault]:
    """The faults that were asked for: those of the file, then those of the command line."""
    return (read_file(args.faults) if args.faults else []) + [parse(text) for text in args.fault]


class _List(argparse.Action):
    """Prints the list, as --version prints the version."""

    def __init__(self, **arguments) -> None:
        super().__init__(nargs=0, **arguments)

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        print(listing())
        parser.exit()


def _own_fields(fault: type[Fault]) -> dict[str, dataclasses.Field]:
    """The fields that not every fault of messages has."""
    common = MessageFault.options() if issubclass(fault, MessageFault) else {}
    return {key: item for key, item in fault.options().items() if key not in common}


def listing() -> str:
    """Every fault with its fields, what a good node does, and the rows of docs/reliability.md."""
    fill = textwrap.TextWrapper(110, initial_indent="    ", subsequent_indent="      ").fill
    parts = ["Fields of every fault but those of time:", *map(fill, _fields(MessageFault.options()))]
    for family, faults in FAMILIES.items():
        parts += ["", family.upper()]
        for fault in faults:
            rows = f"  [docs/reliability.md {', '.join(map(str, fault.rows))}]" if fault.rows else ""
            parts += ["", f"{fault.name()}{rows}", fill(fault.__doc__), fill(f"A good node: {fault.promise}."),
                      *map(fill, _fields(_own_fields(fault)))]
    return "\n".join(parts)


def _fields(options: dict[str, dataclasses.Field]) -> list[str]:
    return [f"{key}={'...' if item.default is dataclasses.MISSING else plain(item.default)}: {item.metadata['text']}"
            for key, item in options.items()]


def markdown_table() -> str:
    """All faults as a table for the documentation."""
    lines = ["| fault | what goes wrong | fields | what a good node does | rows |", "| --- " * 5 + "|"]
    for fault in FAULTS.values():
        own = [f"`{key}`" for key in _own_fields(fault)]
        lines.append(f"| `{fault.name()}` | {fault.__doc__} | {', '.join(own)} | {fault.promise} | "
                     f"{', '.join(map(str, fault.rows))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown_table())
