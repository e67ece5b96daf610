"""`make fuzz`: which targets, for how long, and the table at the end."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fuzz import ACCEPTED, TARGETS, make_target
from fuzz.campaign import Finding, Result, campaign, run_case

#: Reasons of rejection that the table names for each target.
_REASONS = 4


def build_parser() -> argparse.ArgumentParser:
    """The options; all have defaults."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Random and damaged input; docs/fuzzing.md.",
                                     epilog="example:\n  make fuzz ARGS='--minutes 10 --target images'",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=list(TARGETS), metavar="NAME",
                        help=f"one of {', '.join(TARGETS)}; may be given again (default: all)")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default %(default)s)")
    parser.add_argument("--only", type=int, metavar="INDEX", help="run this one case in this process")
    parser.add_argument("--save", type=Path, default=Path("fuzz_findings"), metavar="FOLDER",
                        help="where findings go (default %(default)s)")
    parser.add_argument("--reasons", action="store_true", help="list every reason with its count")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if there was no finding, else 1."""
    args = build_parser().parse_args(arguments)
    results = [_one(name, args) for name in args.target or TARGETS]
    print(table(results))
    if args.reasons:
        for result in results:
            print(f"\n{result.target}")
            print("\n".join(f"{count:>12,}  {text}" for text, count in result.outcomes.most_common()))
    findings = [finding for result in results for finding in result.findings]
    for finding in findings:
        print(f"\nFINDING {finding.target} --seed {finding.seed} --only {finding.index}: {finding.what}")
        print(f"  {_save(args.save, finding)}")
    return 1 if findings else 0


def _one(name: str, args: argparse.Namespace) -> Result:
    if args.only is None:
        print(f"{name} …", flush=True)
        return campaign(name, args.seed, 60.0 * args.minutes)
    result = Result(name)
    with tempfile.TemporaryDirectory() as folder:
        run_case(make_target(name, Path(folder)), name, args.seed, args.only, result)
    return result


def _save(folder: Path, finding: Finding) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.target}-{finding.seed}-{finding.index}.txt"
    path.write_text(f"{finding.what}\n\n{finding.details}\n", errors="backslashreplace")
    return path


def table(results: Sequence[Result]) -> str:
    """Counts of each target in Markdown, with the commonest reasons of rejection."""
    lines = ["| target | inputs | a second of CPU | accepted | rejected | findings | commonest reasons |",
             "| --- | --: | --: | --: | --: | --: | --- |"]
    total = accepted_total = 0
    for result in results:
        inputs, accepted = result.outcomes.total(), result.outcomes[ACCEPTED]
        total, accepted_total = total + inputs, accepted_total + accepted
        reasons = [(text, count) for text, count in result.outcomes.most_common() if text != ACCEPTED]
        named = "; ".join(f"{text.replace('|', '/')} ({count:,})" for text, count in reasons[:_REASONS])
        more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
        rate = inputs / max(result.cpu_seconds, 1e-9)
        lines.append(f"| `{result.target}` | {inputs:,} | {rate:,.0f} | {accepted:,} | {inputs - accepted:,} | "
                     f"{len(result.findings)} | {named}{more} |")
    lines.append(f"| all | {total:,} | | {accepted_total:,} | {total - accepted_total:,} | "
                 f"{sum(len(result.findings) for result in results)} | |")
    return "\n".join(lines)
