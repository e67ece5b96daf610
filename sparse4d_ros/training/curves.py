"""Tables of a run as CSV, appended row by row, cut back to the checkpoint on resume."""

from __future__ import annotations

import csv
from pathlib import Path

from sparse4d_ros.writing import blaming, replacing


class Table:
    """A CSV file whose first column is ``step``. A row may bring new columns: then the file is written anew."""

    def __init__(self, path: Path, resume_step: int | None) -> None:
        self.path = path
        self._rows: list[dict[str, str]] = []
        if resume_step is not None and path.is_file():
            with open(path, newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resume_step]
        self._columns = list(self._rows[0]) if self._rows else []
        self._write_all()

    def append(self, row: dict[str, float]) -> None:
        """One more row; numbers with six significant digits."""
        text = {key: f"{value:.6g}" for key, value in row.items()}
        self._rows.append(text)
        new = [key for key in text if key not in self._columns]
        if new:
            self._columns += new
            return self._write_all()
        with blaming(self.path), open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(text)

    def _write_all(self) -> None:
        with replacing(self.path) as partial, open(partial, "w", newline="") as file:
            if self._columns:
                writer = csv.DictWriter(file, self._columns, restval="")
                writer.writeheader()
                writer.writerows(self._rows)
