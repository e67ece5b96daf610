"""The drives of `sparse4d simulate`, one after the other or several at a time in processes of their own."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tqdm import tqdm

from sparse4d_ros.boxes import NUSCENES_CLASSES
from sparse4d_ros.errors import UserError
from sparse4d_ros.frame import LabelledFrame
from sparse4d_ros.simulation.catalogue import bodies
from sparse4d_ros.simulation.drive import frame_count, render, simulate
from sparse4d_ros.simulation.models import with_models
from sparse4d_ros.simulation.renderer import Renderer
from sparse4d_ros.simulation.tracks import Recording
from sparse4d_ros.simulation.tracks_scene import TracksScene
from sparse4d_ros.simulation.variety import rig_of, weather_of
from sparse4d_ros.writing import blaming

#: What a process says after a frame and after a drive; anything else is an error.
_FRAME, _DONE = "frame", "done"


def render_drives(args: argparse.Namespace, recording: Recording | None) -> None:
    """Render the drives that are not there yet, ``args.jobs`` at a time, of towns or of the recording.

    ``args`` are the command's, checked. Where one fails, none goes on and nothing is left of those in the works;
    the ``UserError`` names the seed where several were.
    """
    todo = [seed for seed in args.seeds if not _folder(args, seed).exists()]
    if len(todo) < len(args.seeds):
        print(f"{len(args.seeds) - len(todo)} of {len(args.seeds)} drives exist already")
    with tqdm(total=len(todo) * frame_count(args.duration, args.rate), unit="frame", smoothing=0.05) as progress:
        if args.jobs > 1:
            _side_by_side(args, recording, todo, progress)
            return
        with contextlib.closing(_Studio(args, recording)) as studio:
            for seed in todo:
                progress.set_postfix_str(weather_of(seed, args.variety)["name"])
                studio.make(seed, progress.update)


class _Studio:
    """One renderer, and what it renders of."""

    def __init__(self, args: argparse.Namespace, recording: Recording | None) -> None:
        self._args, self._recording = args, recording
        self._catalogue = with_models(bodies(), dict(args.mesh)) if args.mesh else bodies()
        with blaming(args.output):
            args.output.mkdir(parents=True, exist_ok=True)
        self._renderer = Renderer(args.size, catalogue=self._catalogue)

    def close(self) -> None:
        """Release the renderer."""
        self._renderer.release()

    def make(self, seed: int, tick: Callable[[], object]) -> None:
        """Write one drive; ``tick()`` after each frame."""
        args, folder, weather = self._args, _folder(self._args, seed), weather_of(seed, self._args.variety)["name"]
        frames = _ticking(self._frames(seed), tick)
        if args.format == "arrays":
            from sparse4d_ros.data.drive_cache import write_drive

            write_drive(folder, frames, NUSCENES_CLASSES, weather)
        else:
            from sparse4d_ros.data.bag_writer import write_bag

            write_bag(folder, frames, rig_of(seed, args.variety).vehicle_from_camera, jpeg_quality=args.jpeg_quality,
                      weather=weather)

    def _frames(self, seed: int) -> Iterator[LabelledFrame]:
        args = self._args
        if self._recording is None:
            return simulate(seed, args.duration, args.rate, args.size, args.split, renderer=self._renderer,
                            variety=args.variety, catalogue=self._catalogue)
        return render(TracksScene(self._recording, seed, self._catalogue), seed, args.duration, args.rate, args.size,
                      renderer=self._renderer, variety=args.variety)


def _side_by_side(args: argparse.Namespace, recording: Recording | None, todo: list[int], progress: tqdm) -> None:
    context = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
    left = iter(todo)
    doing: dict[Connection, int] = {}
    with contextlib.ExitStack() as joined, contextlib.ExitStack() as ended:  # all are ended before one is waited for
        for seed in itertools.islice(left, args.jobs):
            ours, theirs = context.Pipe()
            with theirs:
                process = context.Process(target=_work, args=(theirs, args, recording))
                process.start()
            joined.callback(process.join)
            ended.callback(ours.close)
            ended.callback(process.terminate)
            ours.send(seed)
            doing[ours] = seed
        while doing:
            for pipe in wait(list(doing)):
                try:
                    said = pipe.recv()
                except (EOFError, OSError):
                    raise UserError(f"seed {doing[pipe]}: the process that rendered it died, perhaps for want of "
                                    "memory; try fewer --jobs") from None
                if said == _FRAME:
                    progress.update()
                elif said != _DONE:
                    raise type(said)(f"seed {doing[pipe]}: {said}")
                elif (seed := next(left, None)) is None:
                    del doing[pipe]
                else:
                    pipe.send(seed)
                    doing[pipe] = seed


def _work(pipe: Connection, args: argparse.Namespace, recording: Recording | None) -> None:
    """In a process of its own: write a drive for each seed that comes, until it is ended by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, _exit_once)
    with contextlib.suppress(ConnectionError):  # the first process is gone
        try:
            with contextlib.closing(_Studio(args, recording)) as studio:
                while True:
                    studio.make(pipe.recv(), lambda: pipe.send(_FRAME))
                    pipe.send(_DONE)
        except UserError as error:
            pipe.send(error)
        except Exception:
            pipe.send(RuntimeError(traceback.format_exc()))


def _exit_once(number: int, _) -> None:
    signal.signal(number, signal.SIG_IGN)  # nothing disturbs the tidying up
    sys.exit()


def _folder(args: argparse.Namespace, seed: int) -> Path:
    return args.output / f"{'drive' if args.tracks is None else args.tracks.stem}_{seed:05d}"


def _ticking(frames: Iterable[LabelledFrame], tick: Callable[[], object]) -> Iterator[LabelledFrame]:
    for frame in frames:
        yield frame
        tick()
