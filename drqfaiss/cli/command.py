"""Parses the command line, runs a subcommand, prints what it returns and turns errors into exit statuses.

A subcommand returns a dictionary: names and values, and under "rows" a list of dictionaries for a table, or
`Rows` that are still being measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import faiss

from drqfaiss._threads import on_threads
from drqfaiss.cli import bench, build, evaluate, info, search, train, tune
from drqfaiss.cli.options import positive
from drqfaiss.cli.tables import Rows, lines

COMMANDS = {
    "train": train,
    "build": build,
    "search": search,
    "eval": evaluate,
    "tune": tune,
    "bench": bench,
    "info": info,
}
TIMED = ("eval", "tune", "bench")  # Commands that tell times.
FAILED, INTERRUPTED = 1, 130
EXPECTED_ERRORS = (OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: ``sys.argv``); return the exit status.

    0: done; 1: an error, told in one line on stderr; 130: interrupted by the keyboard. A wrong command line
    ends with status 2 (``SystemExit``).
    """
    options = parser().parse_args(arguments)
    if arguments is None and options.command in TIMED:
        wait_passively()
    try:
        with on_threads(options.threads or faiss.omp_get_max_threads()):
            result = options.run(options)
        _print(as_json(result) if options.json else lines(result, terminal_columns()))
    except EXPECTED_ERRORS as error:
        print(f"drqfaiss {options.command}: error: {told(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def wait_passively() -> None:
    """Start this process again with OpenMP threads that sleep while they wait, unless a policy was chosen.

    Threads that spin take the cores from each other and from other programs: on a busy machine they make
    times a hundred times as long. OpenMP reads the environment only when it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        passive = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
        os.execve(sys.executable, sys.orig_argv, passive)


def _print(text: Iterator[str]) -> None:
    try:
        for line in text:
            print(line, flush=True)
    except BrokenPipeError:  # The reader, `head` for example, has had enough; Python flushes once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_json(result: dict[str, Any]) -> Iterator[str]:
    """Yield the result as JSON, when all of it is there."""
    rows = result.get("rows")
    if isinstance(rows, Rows):
        result = result | {"rows": [*rows.rows]}
    yield json.dumps(result, indent=1, ensure_ascii=False)


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
