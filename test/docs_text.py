"""What README and docs say, taken apart: shell commands of fenced blocks, code spans, links and headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "models").glob("**/*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_ENDS = {"&&", "||", "|", ";", "(", ")"}
_SHELL = ("sh", "")  # blocks without a language hold commands or tables; only known commands are looked for


class Said(NamedTuple):
    """Words of a page, and where they stand."""

    where: str
    words: list[str]


def _place(page: Path, text: str, position: int) -> str:
    return f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, position) + 1}"


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """``(where, content)`` of every fenced block of a language."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            if found[1] == language:
                yield _place(page, text, found.start()), found[2]


def block_commands() -> list[Said]:
    """Every simple command of every shell block; continued lines are joined, comments and redirections dropped."""
    return [Said(where, words) for language in _SHELL for where, content in blocks(language)
            for words in split_commands(content)]


def split_commands(text: str) -> Iterator[list[str]]:
    """Words of each simple command in lines of shell."""
    for line in text.replace("\\\n", " ").splitlines():
        if "<" in line and ">" in line:  # a placeholder like <this repository>, no redirection
            line = re.sub(r"<([^<>]*)>", lambda found: found[1].replace(" ", "_"), line)
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        try:
            tokens = list(lexer)
        except ValueError:  # a quotation that is prose
            continue
        words: list[str] = []
        for token in [*tokens, ";"]:
            if token in _ENDS:
                if words:
                    yield words
                words = []
            else:
                words.append(token)


def spans() -> list[tuple[str, str]]:
    """``(where, text)`` of every inline code span outside fenced blocks."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        prose = _FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
        found += [(_place(page, prose, span.start()), span[1]) for span in _SPAN.finditer(prose)]
    return found


def links() -> list[tuple[Path, str, str]]:
    """``(page, where, target)`` of every link and picture."""
    return [(page, _place(page, text, link.start()), link[1])
            for page in PAGES for text in [page.read_text(encoding="utf-8")] for link in _LINK.finditer(text)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    made = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        made.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return made
