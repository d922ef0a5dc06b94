"""The ``drqfaiss`` command."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from importlib.metadata import version

import faiss
import numpy as np

import drqfaiss


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with ``arguments`` (default: ``sys.argv``); return the exit status."""
    parser = argparse.ArgumentParser(prog="drqfaiss", description="Deep Recurrent Quantization for FAISS.")
    commands = parser.add_subparsers(title="commands", required=True)
    info_parser = commands.add_parser("info", help="versions, SIMD level and how the plug-in found FAISS")
    info_parser.set_defaults(run=info)
    options = parser.parse_args(arguments)
    for name, value in options.run().items():
        print(f"{name + ':':<14}{value}")
    return 0


def info() -> dict[str, str]:
    """Collect what a bug report needs; importing drqfaiss already ran the plug-in's self-check."""
    facts = drqfaiss._core.plugin.facts()
    return {
        "drqfaiss": version("drqfaiss"),
        "faiss": f"{faiss.__version__} ({facts['libfaiss']})",
        "numpy": np.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "SIMD level": drqfaiss.simd_level(),
        "self-check": f"passed; replaced {', '.join(facts['slots'])}",
        "threads": f"{facts['threads']} ({facts['openmp']})",
    }
