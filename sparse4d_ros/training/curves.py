"""Tables of a run as CSV, appended row by row, cut back to the checkpoint on resume."""

from __future__ import annotations

import csv
from pathlib import Path


class Table:
    """A CSV file whose first column is ``step``; columns are those of the first row."""

    def __init__(self, path: Path, resume_step: int | None) -> None:
        self.path = path
        rows: list[dict[str, str]] = []
        if resume_step is not None and path.is_file():
            with open(path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resume_step]
        self._columns = list(rows[0]) if rows else None
        path.write_text("")
        for row in rows:
            self._write(row)

    def append(self, row: dict[str, float]) -> None:
        """One more row; numbers with six significant digits."""
        if self._columns is None:
            self._columns = list(row)
        self._write({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})

    def _write(self, row: dict) -> None:
        new = self.path.stat().st_size == 0
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow(row)
