"""Answer searches of an index or of shards over HTTP: what ``drqfaiss serve`` runs.

It needs FastAPI: ``pip install 'drqfaiss[serve]'``.
"""

from drqfaiss.serving._app import create_app
from drqfaiss.serving._limits import Limits
from drqfaiss.serving._run import serve

__all__ = ["Limits", "create_app", "serve"]
