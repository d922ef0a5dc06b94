"""Parses the command line, runs a command, prints what it returns and turns errors into exit statuses.

A command returns a dictionary: names and values, and under "rows" a list of dictionaries for a table, or
`Rows` that are still being measured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from cyclopts import CycloptsError

from drqfaiss.cli.commands import app
from drqfaiss.cli.options import Common, UsageError
from drqfaiss.cli.tables import Rows, lines, terminal

TIMED = ("eval", "tune", "bench")  # Commands that tell times.
DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
EXPECTED_ERRORS = (OSError, ValueError, TypeError, RuntimeError, ImportError, MemoryError)


def run(arguments: Sequence[str] | None) -> int:
    """Run the command with ``arguments``, those of this process if None; return the exit status."""
    words = sys.argv[1:] if arguments is None else [*arguments]
    name = words[0] if words and words[0] in app else None
    try:
        if not words:
            raise UsageError(f"got no command, expected one of {', '.join(names())}")
        called, bound, *_ = app.parse_args(words, print_error=False, exit_on_error=False)
        bound.apply_defaults()
        options = bound.arguments.get("options")
        if not isinstance(options, Common):  # Help, version or completion.
            called(*bound.args, **bound.kwargs)
            return DONE
        if arguments is None and name in TIMED:
            wait_passively()
        return finish(lambda: called(*bound.args, **bound.kwargs), options)
    except (CycloptsError, UsageError) as error:
        return tell(name, error, WRONG)
    except EXPECTED_ERRORS as error:
        return tell(name, error, FAILED, bound.arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def names() -> list[str]:
    """Return the names of the commands."""
    return [name for name in app if not name.startswith("-")]


def finish(work: Callable[[], dict[str, Any]], options: Common) -> int:
    """Do a command's work, and print what comes of it."""
    import faiss

    from drqfaiss._threads import on_threads

    with on_threads(options.threads or faiss.omp_get_max_threads()):
        result = work()
    _print(as_json(result) if options.json else lines(result, *terminal()))
    return DONE


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


def tell(name: str | None, error: Exception, status: int, given: Mapping[str, Any] | None = None) -> int:
    """Tell an error in one line on stderr; return the exit status that says so.

    ``given`` are the arguments of the command: the message names them as they were typed.
    """
    where = f"drqfaiss {name}" if name else "drqfaiss"
    hint = f" ({where} --help)" if status == WRONG else ""
    print(f"{where}: error: {typed(told(error), given or {})}{hint}", file=sys.stderr)
    return status


def told(error: Exception) -> str:
    """Return an error's message; for errors of the system, file and reason without its number."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def typed(message: str, given: Mapping[str, Any]) -> str:
    """Return an error's message with the argument that it is about as the command line has it."""
    name, colon, rest = message.partition(": ")
    options = given.get("options")
    if colon and name in option_names(options):
        return f"--{name.replace('_', '-')}: {rest}"
    vectors = given.get("vectors") or given.get("data")
    if colon and name == "x" and vectors:  # What functions call the vectors.
        return f"{vectors}: {rest}"
    return message


def option_names(options: Any) -> set[str]:
    """Return the names of options that are not a letter, and of those in their groups."""
    if not is_dataclass(options):
        return set()
    names = {option.name for option in fields(options) if len(option.name) > 1}
    return names.union(*(option_names(getattr(options, name)) for name in names))
