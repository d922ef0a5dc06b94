"""The ``drqfaiss`` command: `commands` says what can be typed, a module per command does the work."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: ``sys.argv``); return the exit status.

    0: done; 1: an error, 2: a wrong command line, or an installation without the command's libraries, each
    told in one line on stderr; 130: interrupted by the keyboard.
    """
    if find_spec("cyclopts") is None:
        print('drqfaiss: error: the command needs pip install "drqfaiss[cli]"', file=sys.stderr)
        return 2
    from drqfaiss.cli.command import run

    return run(arguments)


__all__ = ["main"]
