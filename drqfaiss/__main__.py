"""``python -m drqfaiss`` is the ``drqfaiss`` command."""

import sys

from drqfaiss.cli import main

sys.exit(main())
