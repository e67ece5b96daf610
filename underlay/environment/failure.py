"""The one way in which set-up fails: a sentence that says what is wrong and what to do."""

from __future__ import annotations


class SetupFailure(Exception):
    """Set-up cannot go on. The text is meant to be read; `remedy` says what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy
