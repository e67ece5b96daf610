"""From parameters to a loaded engine, with the checks that need both. No ROS here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparse4d_ros.errors import UserError
from sparse4d_ros.node.settings import Settings


def load_engine(settings: Settings) -> Any:
    """The engine of `model.*`; UserError naming the path, field or parameter that is wrong."""
    # Imported here: a node whose tests bring their own engine needs none of the backends.
    from sparse4d_ros.engine import Engine, EngineOptions, ModelPackage

    package = ModelPackage.load(package_folder(settings.model_package))
    check_package(package, settings)
    options = EngineOptions(
        score_threshold=settings.score_threshold, class_score_thresholds=dict(settings.class_score_thresholds),
        max_objects=settings.max_objects, max_range_m=settings.max_range_m, max_interval_s=settings.max_interval_s,
        score_mode=settings.score_mode, nms_iou=None if settings.nms_iou < 0 else settings.nms_iou,
        bank_min_confidence=settings.bank_min_confidence or None, bank_max_unseen=settings.bank_max_unseen or None,
        association_similarity=settings.association_similarity or None)
    return Engine(package, backend=settings.model_backend, device=settings.model_device or None,
                  precision=settings.model_precision, options=options,
                  engine_file=Path(settings.model_engine).expanduser() if settings.model_engine else None)


def package_folder(text: str) -> Path:
    """A model package by path, or by the name of one shipped in models/."""
    from sparse4d_ros.resources import share_path

    path = Path(text).expanduser()
    if path.is_dir():
        return path
    if len(path.parts) > 1:
        raise UserError(f"The parameter 'model.package' is '{text}', but there is no such folder.")
    shipped = share_path("models")
    if (shipped / text).is_dir():
        return shipped / text
    names = sorted(child.name for child in shipped.iterdir() if child.is_dir())
    raise UserError(f"The parameter 'model.package' is '{text}', which is neither a folder nor one of the shipped "
                    f"packages ({', '.join(names) or 'none'}).")


def check_package(package: Any, settings: Settings) -> None:
    """UserError naming the parameter that does not fit the model package."""
    cameras = tuple(package.cameras)
    if len(settings.cameras) != len(cameras):
        raise UserError(f"The parameter 'cameras' names {len(settings.cameras)} cameras, but the model package "
                        f"'{package.name}' was made for {len(cameras)} ({', '.join(cameras)}).")
    if sorted(settings.cameras) == sorted(cameras) and settings.cameras != cameras:
        raise UserError(f"The parameter 'cameras' lists the cameras of the model package '{package.name}' in another "
                        f"order; its order is {', '.join(cameras)}.")
    for name in settings.class_score_thresholds:
        if name not in package.classes:
            raise UserError(f"The parameter 'class_score_thresholds.{name}' names no class of the model package "
                            f"'{package.name}': {', '.join(package.classes)}.")
