"""The ``drqfaiss`` command: one module per subcommand, each with ``add_options`` and ``run``."""

from drqfaiss.cli.command import main

__all__ = ["main"]
