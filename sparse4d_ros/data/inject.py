"""`sparse4d inject`: a bag with faults as another bag, which any player plays to any perception node."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from sparse4d_ros.data import bag_files, faults
from sparse4d_ros.data.bag_output import NewBag
from sparse4d_ros.data.fault import Fault
from sparse4d_ros.data.fault_injector import Injector
from sparse4d_ros.data.fault_time import TimeFault
from sparse4d_ros.data.ros_types import typestore
from sparse4d_ros.data.timed_messages import CLOCK, CLOCK_TOPIC, recording_of, with_clock
from sparse4d_ros.errors import UserError
from sparse4d_ros.writing import blaming

_CLOCK_PERIOD_NS = 10_000_000


class BrokenBag(NewBag):
    """A bag that is another one, broken."""

    def copy(self, bag: Path, wanted: Sequence[Fault], seed: int) -> str:
        """Write all of ``bag``, broken; returns the report.

        Log times follow what is done to the messages. Where time itself is broken the bag gets a /clock that
        shows it; else it has the /clock that was recorded, if any, as players make their own. Topics of types that
        neither the bag nor we define are left out, and said.
        """
        own_clock = any(isinstance(fault, TimeFault) for fault in wanted)
        with bag_files.open_bag(bag) as reader:
            connections = [item for item in reader.connections if item.msgtype in reader.typestore.fielddefs
                           and not (own_clock and item.topic == CLOCK_TOPIC)]
            injector = Injector(recording_of(reader, connections), wanted, seed)
            targets = {topic: self._writer.add_connection(
                topic, item.msgtype, typestore=reader.typestore, offered_qos_profiles=item.ext.offered_qos_profiles)
                for topic, item in {item.topic: item for item in connections}.items()}
            notes = [f"{item.topic} is left out: nothing defines its type {item.msgtype}" for item in reader.connections
                     if item.msgtype not in reader.typestore.fielddefs]
            messages = injector.messages()
            if own_clock:
                targets[CLOCK_TOPIC] = self._writer.add_connection(CLOCK_TOPIC, CLOCK, typestore=typestore())
                messages = with_clock(messages, injector.clock, _CLOCK_PERIOD_NS)
            for message in tqdm(messages, desc=bag.name, unit=" messages", leave=False, disable=None):
                with blaming(self.path):
                    self._writer.write(targets[message.topic], injector.recording.begin_ns + message.due_ns,
                                       message.raw)
        return "\n".join([*notes, injector.report()])


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--bag", type=Path, required=True, help="a rosbag2 folder, or one .mcap or .db3 file")
    parser.add_argument("--output", type=Path, required=True, help="the broken bag, a new folder")
    parser.add_argument("--overwrite", action="store_true", help="replace it if it exists")
    faults.add_options(parser)
    parser.epilog = """examples:
  sparse4d inject --list-faults
  sparse4d inject --bag drive --fault drop:camera=front,probability=0.3 --output drive_lossy
  sparse4d inject --bag drive --fault silence:camera=back,from=5,to=10 --fault tf_jump:from=12 --output drive_bad
  sparse4d inject --bag drive --faults faults.yaml --seed 7 --output drive_bad
The same faults on live topics: sparse4d_replay --bag drive --fault ... (docs/fault_injection.md)."""


def run(args: argparse.Namespace) -> int:
    """Write the broken bag and print what was broken."""
    wanted = faults.from_options(args)
    if not wanted:
        raise UserError("nothing to break: give --fault or --faults; --list-faults explains them")
    weather = bag_files.custom_data(args.bag).get(bag_files.WEATHER, "")
    with BrokenBag(args.output, overwrite=args.overwrite, weather=weather) as output:
        report = output.copy(args.bag, wanted, args.seed)
    print(f"{args.output}\n{report}")
    return 0
