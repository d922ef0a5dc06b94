"""Benchmarks as their users start them: `python -m` in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WARNINGS_FAIL = ("-W", "error::UserWarning")


def run_module(module, *arguments, python=()):
    """Run a module with arguments, and options for the interpreter, from the project's folder."""
    command = [sys.executable, *python, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
