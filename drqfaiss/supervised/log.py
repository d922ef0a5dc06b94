"""The training log: one JSON object per line, which survives a kill and can be plotted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from drqfaiss._files import writing


class Log:
    """Appends lines to a file; without a path it does nothing."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)

    def start(self, step: int) -> None:
        """Keep the lines up to a step: those after it will be written again."""
        if self.path is None:
            return
        lines = read_log(self.path) if step and self.path.exists() else []
        kept = [json.dumps(line) + "\n" for line in lines if line["step"] <= step]
        with writing(self.path) as file:
            file.write("".join(kept).encode())

    def write(self, **line: Any) -> None:
        """Append a line, on disk when this returns."""
        if self.path is not None:
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the lines of a log; a last line that a kill cut short is left out."""
    lines = []
    for text in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
