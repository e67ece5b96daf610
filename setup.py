"""`pip install .`: everything but the ROS node, on a machine without ROS. (With ROS: colcon, see CMakeLists.txt.)"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def requirements(*groups: str) -> list[str]:
    """Lines of requirements/<group>.txt, which set-up hands to pip as well."""
    text = "\n".join((ROOT / "requirements" / f"{group}.txt").read_text() for group in groups)
    return sorted({line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")})


def shared_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Every file below these folders, to land in share/sparse4d_ros as the ROS package puts them."""
    files = [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*"))
             if path.is_file() and "__pycache__" not in path.parts]
    return [(f"share/sparse4d_ros/{path.parent}", [str(path)]) for path in files]


EXTRAS = {group: requirements(group)
          for group in ("bags", "evaluate", "simulate", "train", "export", "test", "browser")}
# Not in an extra, because its own pins would hold numpy below 2: `pip install --no-deps nuscenes-devkit==1.2.0`.
EXTRAS["all"] = requirements("bags", "evaluate", "simulate", "train", "export", "test")

setup(
    name="sparse4d_ros",
    version="0.2.0",
    description="Sparse4D v3 for ROS 2: the images of several cameras in, tracked 3-D objects out",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["sparse4d_ros", "sparse4d_ros.*"]),
    package_data={"sparse4d_ros": ["**/*.yaml", "**/*.json", "**/*.html", "deploy/plugin/*"]},
    install_requires=requirements("base"),
    extras_require=EXTRAS,
    data_files=shared_files("msg", "config", "models", "requirements"),
    entry_points={"console_scripts": ["sparse4d = sparse4d_ros.cli:main"]},
)
