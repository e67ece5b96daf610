"""What a check found, in words for the person who has to act on it, and the page that lists it: a rig, a machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

#: From harmless to harmful; INFO is no verdict, SKIP a check that was not possible.
LEVELS = INFO, OK, SKIP, WARN, FAIL = ("INFO", "OK", "SKIP", "WARN", "FAIL")


@dataclass(frozen=True)
class Finding:
    """One sentence about one thing. ``ValueError`` for a level that is none of :data:`LEVELS`."""

    level: str
    #: Which check found it, e.g. "stamps" or "mounting".
    check: str
    #: What it is about: a camera, a topic, a frame, a driver.
    subject: str
    text: str
    #: What to do about it; empty where nothing is to be done.
    remedy: str = ""
    #: The numbers in the text, by name with unit, for ``--json``.
    numbers: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"{self.level!r} is not one of {', '.join(LEVELS)}")


def worst(findings: Iterable[Finding]) -> str:
    """The most harmful level; OK for no findings."""
    return max((finding.level for finding in findings), key=LEVELS.index, default=OK)


def page(sections: dict[str, list[Finding]]) -> str:
    """All findings under their headings, the remedy below each, and the count of each level at the end."""
    everything = [finding for findings in sections.values() for finding in findings]
    width = max((len(finding.subject) for finding in everything), default=0)
    lines = []
    for title, findings in sections.items():
        lines += [title]
        for finding in findings:
            lines.append(f"  {finding.level:<5} {finding.subject:<{width}}  {finding.text}")
            if finding.remedy:
                lines.append(f"  {'':<5} {'':<{width}}  -> {finding.remedy}")
        lines.append("")
    counts = {level: sum(finding.level == level for finding in everything) for level in LEVELS if level != INFO}
    return "\n".join([*lines, ", ".join(f"{count} {level}" for level, count in counts.items())])


def to_json(sections: dict[str, list[Finding]]) -> dict[str, Any]:
    """The page as plain data: the worst level and every finding with its section."""
    return {
        "worst": worst(finding for findings in sections.values() for finding in findings),
        "findings": [{"section": title, **asdict(finding)} for title, findings in sections.items()
                     for finding in findings],
    }
