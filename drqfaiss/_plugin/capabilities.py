"""What of the plug-in may work in a FAISS where something else does not."""

from __future__ import annotations

# Lists need the flat class, our scanner needs our lists.
CAPABILITIES = ("flat", "ivf_lists", "ivf_scanner")
