"""What a model loses without its memory, and without one of its cameras.

A lost camera is judged by the objects that another camera sees as well: those must still be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sparse4d_ros.evaluation.matching import Matches
from sparse4d_ros.evaluation.misses import VISIBLE
from sparse4d_ros.evaluation.nuscenes_metrics import Scores
from sparse4d_ros.evaluation.spread import COLUMNS
from sparse4d_ros.frame import LabelledFrame
from sparse4d_ros.geometry import pad_intrinsic, project

#: Drive, frame and row of a true object, as in :class:`~sparse4d_ros.evaluation.matching.ClassMatches`.
Place = tuple[int, int, int]
#: Of each frame of a drive what :func:`seen_by` tells.
Seen = list[dict[str, np.ndarray]]


@dataclass(frozen=True)
class CameraLoss:
    """One camera lost: what happens to the objects that the others see."""

    camera: str
    #: True objects that another camera sees, in all frames together.
    objects: int
    #: Share of them that is found with all cameras, and with this one lost.
    recall: float
    recall_without: float

    @property
    def lost(self) -> float:
        """Share of the recall that is lost with the camera; nan if there was none."""
        return 1.0 - self.recall_without / self.recall if self.recall else float("nan")


def without_camera(frames: Iterable[LabelledFrame], name: str) -> Iterator[LabelledFrame]:
    """The frames as they come when a camera is dead: it is in the set, its picture is not."""
    for item in frames:
        cameras = tuple(replace(camera, image=None) if camera.name == name else camera for camera in item.frame.cameras)
        yield replace(item, frame=replace(item.frame, cameras=cameras))


def seen_by(item: LabelledFrame) -> dict[str, np.ndarray]:
    """By camera: which objects ``[n]`` have their centre in its picture. Cameras without a picture see none."""
    centres, out = item.objects.boxes[:, :3], {}
    for camera in item.frame.cameras:
        seen = np.zeros(len(centres), dtype=bool)
        if camera.image is not None:
            height, width = camera.image.shape[:2]
            pixels, depth = project(centres, pad_intrinsic(camera.intrinsic) @ camera.camera_from_vehicle)
            seen = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
        out[camera.name] = seen
    return out


def watched(frames: Iterable[LabelledFrame], seen: Seen) -> Iterator[LabelledFrame]:
    """The frames as they are; what is seen in those with ground truth is added to ``seen`` on the way."""
    for item in frames:
        if item.objects is not None:
            seen.append(seen_by(item))
        yield item


def seen_by_others(seen: Sequence[Seen], matches: Matches, camera: str) -> set[Place]:
    """True objects that nuScenes judges, that are visible, and that a camera other than this one sees."""
    return {
        (d, f, row) for of in matches.present
        for (d, f, row), visible in zip(of.truth_places.tolist(), of.truth_visibility, strict=True)
        if visible >= VISIBLE and any(rows[row] for name, rows in seen[d][f].items() if name != camera)}


def found(matches: Matches, score: float) -> set[Place]:
    """True objects matched within 2 m by one that was reported with at least this score."""
    out = set()
    for of in matches.present:
        matched = of.matched[matches.distance_m]
        out.update(map(tuple, of.truth_places[matched[(matched >= 0) & (of.scores >= score)]].tolist()))
    return out


def camera_loss(camera: str, objects: set[Place], with_all: set[Place], without: set[Place]) -> CameraLoss:
    """Of ``objects``, how many are among those found with all cameras, and without this one."""
    count = len(objects)
    return CameraLoss(camera, count, *(len(objects & one) / count if count else float("nan")
                                       for one in (with_all, without)))


def memory_table(scores: Scores, without: Scores) -> str:
    """The same weights with and without the bank."""
    lines = [f"{'':<21}" + "".join(f"{name:>8}" for name in COLUMNS)]
    for title, of in (("with memory", scores), ("without", without)):
        lines.append(f"{title:<21}" + "".join(f"{getattr(of, field):>8.3f}" for field in COLUMNS.values()))
    return "\n".join(lines)


def camera_table(losses: Sequence[CameraLoss], score: float) -> str:
    """A line for each camera that was lost, and one for all."""
    lines = [f"{'camera lost':<21}{'objects':>8}{'recall':>8}{'without':>8}{'lost':>8}"]
    lines += [f"{loss.camera:<21}{loss.objects:>8}{loss.recall:>8.3f}{loss.recall_without:>8.3f}{loss.lost:>8.1%}"
              for loss in losses]
    lost = [loss.lost for loss in losses if np.isfinite(loss.lost)]
    mean = float(np.mean(lost)) if lost else float("nan")
    lines += [f"{'mean':<45}{mean:>8.1%}", f"Objects at least {VISIBLE:.0%} visible whose centre another camera sees; "
                                          f"found within 2 m at a score of {score:g}."]
    return "\n".join(lines)
