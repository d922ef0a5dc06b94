"""Parses the command line, runs a subcommand, prints what it returns and turns errors into exit statuses.

A subcommand returns a dictionary: names and values, and under "rows" a list of dictionaries for a table.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import faiss

from drqfaiss.cli import bench, build, evaluate, info, search, train
from drqfaiss.cli.options import positive

COMMANDS = {
    "train": train,
    "build": build,
    "search": search,
    "eval": evaluate,
    "bench": bench,
    "info": info,
}
FAILED, INTERRUPTED = 1, 130
EXPECTED_ERRORS = (OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: ``sys.argv``); return the exit status.

    0: done; 1: an error, told in one line on stderr; 130: interrupted by the keyboard. A wrong command line
    ends with status 2 (``SystemExit``).
    """
    options = parser().parse_args(arguments)
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(options.threads or threads)
        result = options.run(options)
        text = (
            json.dumps(result, indent=1, ensure_ascii=False)
            if options.json
            else as_text(result, terminal_columns())
        )
        _print(text)
    except EXPECTED_ERRORS as error:
        print(f"drqfaiss {options.command}: error: {told(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        faiss.omp_set_num_threads(threads)
    return 0


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # The reader, `head` for example, has had enough; Python flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def terminal_columns() -> int | None:
    """Return the width of the terminal that stdout is; None where a program reads it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class Help(argparse.HelpFormatter):
    """Fills every paragraph of a description to the width of the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(super(Help, self)._fill_text(part, width, indent) for part in text.split("\n\n"))


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(prog="drqfaiss", description="Deep Recurrent Quantization for FAISS.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    common.add_argument("--quiet", action="store_true", help="show no progress")
    common.add_argument("--threads", type=positive, metavar="N", help="default: all cores")
    commands = top.add_subparsers(title="commands", dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").split("\n")[0]
        command = commands.add_parser(
            name,
            parents=[common],
            help=summary,
            description=module.__doc__,
            formatter_class=Help,
        )
        module.add_options(command)
        command.set_defaults(run=module.run)
    return top


def told(error: Exception) -> str:
    """Return an error's message; for errors of the system, file and reason without its number."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def as_text(result: dict[str, Any], columns: int | None = None) -> str:
    """Lay out names and values, a line each, folded to ``columns`` if given, and rows as a table."""
    values = {name: cell(value) for name, value in result.items() if name != "rows"}
    width = max(map(len, values), default=0) + 2
    lines = []
    for name, value in values.items():
        parts = [value] if columns is None else folded(value, max(20, columns - width))
        lines.append(f"{name + ':':<{width}}" + ("\n" + " " * width).join(parts))
    return "\n".join(lines + table(result.get("rows", [])))


def folded(text: str, width: int) -> list[str]:
    """Break a long text into lines; a word, a path for example, stays whole."""
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return names and values in columns; names of several words take several lines."""
    if not rows:
        return []
    names = [re.findall(r"[^ /]+/?", name) for name in rows[0]]
    # The last words stand directly above the values.
    heads = [*zip_longest(*map(reversed, names), fillvalue="")]
    cells = [*reversed(heads), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)) for line in cells
    )
    return [line.rstrip() for line in lines]


def cell(value: Any) -> str:
    """Write a value for people."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
