"""Recorded motion as a JSON file: reading with every number checked, and writing. The format: docs/simulation.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError, shown
from sparse4d_ros.simulation.tracks import Motion, ObjectTrack, Recording
from sparse4d_ros.writing import write_text

FORMAT, VERSION = "sparse4d_tracks", 1
#: The renderer places things in single precision, good to a millimetre within this distance of the origin.
FARTHEST_M = 10_000.0
_EGO_FIELDS = {"times", "positions", "yaws", "pitches", "rolls"}
_OBJECT_FIELDS = {"id", "class", "size", "times", "positions", "yaws", "velocities"}


def read_tracks(path: str | Path) -> Recording:
    """The recording in a file; ``UserError`` names the object and the field that is wrong."""
    path = Path(path)
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    try:
        return _recording(content)
    except _Wrong as error:
        raise UserError(f"{path}: {error}") from error


def write_tracks(path: str | Path, recording: Recording) -> None:
    """Write a recording; angles of pitch and roll and velocities only where there are any."""
    ego = _samples(recording.ego)
    for column, field in ((1, "pitches"), (2, "rolls")):
        if recording.ego.angles[:, column].any():
            ego[field] = recording.ego.angles[:, column].tolist()
    objects = []
    for track in recording.objects:
        row = {"id": track.id, "class": track.name, "size": track.size.tolist(), **_samples(track.motion)}
        if track.motion.velocities is not None:
            row["velocities"] = track.motion.velocities.tolist()
        objects.append(row)
    text = ",\n  ".join(json.dumps(row) for row in objects)
    write_text(path, f'{{"format": "{FORMAT}", "version": {VERSION},\n "ego": {json.dumps(ego)},\n '
                     f'"objects": [\n  {text}\n]}}\n')


def _samples(motion: Motion) -> dict[str, list]:
    return {"times": motion.times.tolist(), "positions": motion.positions.tolist(),
            "yaws": motion.angles[:, 0].tolist()}


class _Wrong(Exception):
    """What is wrong with the content, without the file's name."""


def _recording(content: object) -> Recording:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _Wrong(f'it is no recording: "format" must be "{FORMAT}"')
    if content.get("version") != VERSION:
        raise _Wrong(f"version {shown(content.get('version'))} is unknown, this program reads version {VERSION}")
    _check_fields("the file", content, {"format", "version", "ego", "objects"}, {"ego", "objects"})
    if not isinstance(content["ego"], dict) or not content["ego"]:
        raise _Wrong("ego is empty: the recording needs the vehicle's poses")
    if not isinstance(content["objects"], list):
        raise _Wrong("objects is not a list")
    ego = _motion("ego", content["ego"], _EGO_FIELDS, {"times", "positions", "yaws"})
    tracks, seen = [], set()
    for place, row in enumerate(content["objects"]):
        track = _object(place, row)
        if track.id in seen:
            raise _Wrong(f"object {track.id}: its id is taken by an object before it")
        seen.add(track.id)
        tracks.append(track)
    return Recording(ego, tuple(tracks))


def _object(place: int, row: object) -> ObjectTrack:
    if not isinstance(row, dict):
        raise _Wrong(f"objects[{place}] is not an object with fields")
    number = row.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2 ** 63:
        raise _Wrong(f"objects[{place}]: id is {shown(number)}, not a whole number from 0 on")
    who = f"object {number}"
    motion = _motion(who, row, _OBJECT_FIELDS, _OBJECT_FIELDS - {"velocities"})
    name = row["class"]
    if name not in NUSCENES_CLASSES:
        raise _Wrong(f"{who}: class {shown(name)} is unknown; the classes are {', '.join(NUSCENES_CLASSES)}")
    size = _table(who, "size", [row["size"]], 3)[0]
    if not (size > 0.0).all():
        raise _Wrong(f"{who}: size {size.tolist()} must be positive: length, width, height in metres")
    return ObjectTrack(number, name, size, motion)


def _motion(who: str, row: dict, known: set[str], needed: set[str]) -> Motion:
    _check_fields(who, row, known, needed)
    times = _table(who, "times", row["times"], 0)
    if len(times) < 2:
        raise _Wrong(f"{who}: times has {len(times)} samples, at least 2 are needed")
    late = np.flatnonzero(np.diff(times) <= 0.0)
    if len(late):
        raise _Wrong(f"{who}: times[{late[0] + 1}] = {times[late[0] + 1]} s is not later than the one before it")
    columns = {field: _table(who, field, row[field], 3 if field in ("positions", "velocities") else 0)
               for field in sorted(known - {"id", "class", "size", "times"}) if field in row}
    for field, values in columns.items():
        if len(values) != len(times):
            raise _Wrong(f"{who}: {field} has {len(values)} rows, times has {len(times)}")
    far = np.flatnonzero(np.abs(columns["positions"]).max(axis=1) > FARTHEST_M)
    if len(far):
        raise _Wrong(f"{who}: positions[{far[0]}] is more than {FARTHEST_M:.0f} m from the origin; "
                     "subtract one point near the drive from all positions")
    none = np.zeros(len(times))
    angles = np.stack([columns["yaws"], columns.get("pitches", none), columns.get("rolls", none)], axis=1)
    return Motion(times, columns["positions"], angles, columns.get("velocities"))


def _check_fields(who: str, row: dict, known: set[str], needed: set[str]) -> None:
    for field in sorted(needed - row.keys()):
        raise _Wrong(f"{who}: {field} is missing")
    for field in sorted(row.keys() - known):
        raise _Wrong(f"{who}: {field} is no field of the format; it has {', '.join(sorted(known))}")


def _table(who: str, field: str, values: object, columns: int) -> np.ndarray:
    """Numbers ``[k]`` (``columns`` 0) or ``[k, columns]``, all finite."""
    if not isinstance(values, list):
        raise _Wrong(f"{who}: {field} is not a list")
    for index, row in enumerate(values):
        where = field if field == "size" else f"{field}[{index}]"
        parts = row if columns else [row]
        if not isinstance(parts, list) or len(parts) != max(columns, 1):
            raise _Wrong(f"{who}: {where} is not a list of {columns} numbers")
        for part in parts:
            if not isinstance(part, (int, float)) or isinstance(part, bool) \
                    or not abs(part) <= sys.float_info.max:
                raise _Wrong(f"{who}: {where} holds {shown(part)}, which is no finite number")
    return np.array(values, dtype=np.float64).reshape(len(values), *([columns] if columns else []))
