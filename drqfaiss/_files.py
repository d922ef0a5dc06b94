"""Files that appear whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield the name of a file to write, which takes the place of ``path`` if the ``with`` block succeeds.

    Whatever fails leaves what was there before, and nothing else.

    Raises:
        OSError: No file can be written in the folder.
    """
    target = os.path.realpath(os.fsdecode(path))  # a link stays a link
    with tempfile.TemporaryDirectory(prefix=".drqfaiss-", dir=os.path.dirname(target)) as folder:
        written = os.path.join(folder, "written")
        yield written
        os.replace(written, target)
