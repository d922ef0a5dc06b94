"""Parses the command line, runs a subcommand, prints what it returns and turns errors into exit statuses.

A subcommand returns a dictionary: names and values, and under "rows" a list of dictionaries for a table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
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
        text = json.dumps(result, indent=1, ensure_ascii=False) if options.json else as_text(result)
        print(text, flush=True)
    except BrokenPipeError:  # the reader, `head` for example, has had enough; Python flushes once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except EXPECTED_ERRORS as error:
        print(f"drqfaiss {options.command}: error: {told(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        faiss.omp_set_num_threads(threads)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(prog="drqfaiss", description="Deep Recurrent Quantization for FAISS.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    common.add_argument("--quiet", action="store_true", help="show no progress")
    common.add_argument("--threads", type=positive, help="of OpenMP; default: all cores")
    commands = top.add_subparsers(title="commands", dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").split("\n")[0]
        command = commands.add_parser(
            name,
            parents=[common],
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(command)
        command.set_defaults(run=module.run)
    return top


def told(error: Exception) -> str:
    """Return an error's message; for errors of the system, file and reason without its number."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


def as_text(result: dict[str, Any]) -> str:
    """Lay out names and values line by line, and rows as a table."""
    values = {name: value for name, value in result.items() if name != "rows"}
    width = max(map(len, values), default=0) + 2
    lines = [f"{name + ':':<{width}}{cell(value)}" for name, value in values.items()]
    return "\n".join(lines + table(result.get("rows", [])))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line of names and one per row, in columns."""
    if not rows:
        return []
    cells = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)) for line in cells]


def cell(value: Any) -> str:
    """Write a value for people."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
