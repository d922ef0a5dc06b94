"""Files that appear whole: everything that drqfaiss writes goes through here.

A regular file is written under a temporary name in the same folder, flushed to the disk and renamed, so that
a reader, a full disk, a kill or a loss of power finds the old content or the new one. The file that takes the
place of another keeps its mode, owner and extended attributes, and links to it stay links.

Where no other file can take its place (hard links, somebody else's file, a folder that cannot be written to,
a single file mounted into a container) the content is complete, and there is room for it, before the old one
is overwritten in place: only a kill or a loss of power during that copy leaves a mixture.

What is no regular file (a pipe, a device, /dev/fd/1) is written to directly.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TypeAlias

import numpy as np

FileName: TypeAlias = str | os.PathLike[str]
MOST_LINKS = 40  # Linux follows as many.
COPIED_AT_ONCE = 1 << 24  # Bytes that are copied at once.
DESCRIPTORS = re.compile(r"/proc/[^/]+(/task/[^/]+)?/fd")
TEMPORARY = re.compile(r"\.drqfaiss-[0-9a-f]{16}-[0-9a-f]{16}$")
# Folders, devices and file systems that cannot do a thing say so with these; everything else is a failure.
NOT_SUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EROFS)
DENIED = (errno.EACCES, errno.EPERM, errno.ENOTSUP)
NO_FILE_BESIDE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
NOT_RENAMED = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EXDEV)


@contextmanager
def writing(path: FileName) -> Iterator[IO[bytes]]:
    """Open a file whose content takes the place of ``path`` if the ``with`` block succeeds.

    When it ends without an error the content is on the disk. Whatever fails before leaves what was there, and
    nothing else; what a killed writer of the same name left is removed.

    Raises:
        OSError: The content cannot be written, or ``path`` is read-only; names ``path``.
    """
    with _errors_name(path), ExitStack() as opened:
        place = _place(path, opened)
        if place.direct:
            file = opened.enter_context(os.fdopen(os.dup(place.descriptor), "wb"))
            yield file
            file.flush()
            _sync(file.fileno())
            return
        remove_abandoned(place.name)
        staged = _stage(place, opened)
        with os.fdopen(os.dup(staged.descriptor), "wb") as file:
            writer = os.getpid()
            try:
                yield file
            finally:
                if os.getpid() != writer:
                    _discard(file)
            if os.getpid() != writer:
                raise OSError("it is written by the process that this one was forked from")
            _require_whole(file)
        if not (staged.name and _take_place(staged.name, place)):
            _overwrite(place, staged.descriptor)


def move(source: FileName, path: FileName) -> bool:
    """Rename a file that `writing` wrote to ``path``, as if it had been written there.

    Returns:
        False, and nothing happened, if only its content can go there: to a pipe, another file system or
        under several names.

    Raises:
        OSError: ``path`` is read-only, or a folder cannot be written to; names ``path``.
    """
    name, is_descriptor = _followed(path)
    # Opening a pipe would end its reader.
    if is_descriptor or (os.path.exists(name) and not os.path.isfile(name)):
        return False
    with _errors_name(path), ExitStack() as opened:
        return _take_place(os.fspath(source), _place(path, opened))


def move_or_copy(source: FileName, path: FileName) -> None:
    """Put a finished file in the place of another: by `move`, else by its content. It is gone then.

    Raises:
        OSError: As `writing`.
    """
    if not move(source, path):
        with open(source, "rb") as content, writing(path) as file:
            shutil.copyfileobj(content, file, COPIED_AT_ONCE)
        os.unlink(source)


def require_writable(path: FileName) -> None:
    """Require, before the work, that `writing` will be able to open ``path``.

    Raises:
        OSError: It is a folder or read-only, or its folder does not exist or cannot be written to.
    """
    name, _ = _followed(path)
    folder = os.path.dirname(name) or "."
    if os.path.isdir(name):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not os.path.exists(name) and not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, f"the folder {folder} does not exist", os.fspath(path))
    if not os.access(name if os.path.exists(name) else folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))


def write_array(file: IO[bytes], array: np.ndarray) -> None:
    """Write an array as np.save does, also to a pipe: np.save asks every file where it is."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def remove_abandoned(path: FileName) -> None:
    """Remove what killed writers of this name left: temporary files that no living process has locked."""
    folder, name = os.path.split(os.fspath(path))
    pattern = re.compile(re.escape(_prefix(name)) + "[0-9a-f]{16}")
    with suppress(OSError):  # A folder that cannot be listed can be written to.
        for entry in filter(pattern.fullmatch, os.listdir(folder or ".")):
            _remove_unlocked(os.path.join(folder, entry))


@dataclass(frozen=True)
class _Place:
    """Where a file goes: its name behind all links, and what is there, opened for writing."""

    name: str
    descriptor: int  # −1 if there is nothing yet.
    state: os.stat_result | None
    direct: bool  # Whether there is no regular file to replace.


@dataclass(frozen=True)
class _Staged:
    """A file that is being written, and the descriptor that holds its lock."""

    name: str  # Empty if it has none.
    descriptor: int


@contextmanager
def _errors_name(path: FileName) -> Iterator[None]:
    """Let errors of the system name the file that was asked for, not a temporary one or none."""
    try:
        yield
    except OSError as error:
        internal = error.filename is None or isinstance(error.filename, int)
        if internal or error.filename2 is not None or TEMPORARY.search(str(error.filename)):
            if error.errno is None:
                raise OSError(f"{os.fspath(path)}: {error}") from error
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def _place(path: FileName, opened: ExitStack) -> _Place:
    """Find what is at ``path`` and open it for writing: what may not be written to is refused here."""
    name, is_descriptor = _followed(path)
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _Place(name, -1, None, False)
    except OSError as error:
        if not (is_descriptor and error.errno == errno.ENXIO):  # A socket has no other way in.
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        descriptor = os.dup(int(os.path.basename(name)))
    opened.callback(os.close, descriptor)
    state = os.fstat(descriptor)
    direct = is_descriptor or not stat.S_ISREG(state.st_mode)
    if direct and stat.S_ISREG(state.st_mode):
        os.ftruncate(descriptor, 0)
    return _Place(name, descriptor, state, direct)


def _followed(path: FileName) -> tuple[str, bool]:
    """Return the name at the end of all symbolic links, and whether it is that of an open file."""
    name = os.fsdecode(path)
    for _ in range(MOST_LINKS):
        if DESCRIPTORS.fullmatch(os.path.realpath(os.path.dirname(name))):
            return name, True
        if not os.path.islink(name):
            return name, False
        name = os.path.join(os.path.dirname(name), os.readlink(name))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))


def _prefix(name: str) -> str:
    """Return how the temporary names of a file begin. The digest keeps them short and apart from others'."""
    return f".drqfaiss-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}-"


def _stage(place: _Place, opened: ExitStack) -> _Staged:
    """Make the file to write, beside the place if that is possible; it is gone at the end of ``opened``."""
    try:
        return _beside(place, opened)
    except OSError as error:
        if place.state is None or error.errno not in NO_FILE_BESIDE:
            raise
    descriptor, name = tempfile.mkstemp()
    opened.callback(os.close, descriptor)
    os.unlink(name)
    return _Staged("", descriptor)


def _beside(place: _Place, opened: ExitStack) -> _Staged:
    folder, name = os.path.split(place.name)
    mode = (
        0o666 if place.state is None else 0o600
    )  # The umask's, or nothing for others until it gets the old one's.
    while True:
        temporary = os.path.join(folder, _prefix(name) + secrets.token_hex(8))
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        opened.callback(os.close, descriptor)
        opened.callback(_unlink_if_there, temporary, os.getpid())
        with suppress(OSError):  # Without locks nobody removes it either.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # Otherwise it was removed as abandoned before it was locked.
            return _Staged(temporary, descriptor)


def _unlink_if_there(name: str, writer: int) -> None:
    """Remove a temporary file, unless this is a child that was forked while its parent wrote it."""
    if os.getpid() == writer:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _discard(file: IO[bytes]) -> None:
    """Let what a forked child has buffered go nowhere: the file is its parent's."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, file.fileno(), inheritable=False)
    os.close(nowhere)


def _remove_unlocked(name: str) -> None:
    """Remove a file unless its writer lives, or has just finished. The next writer can do without."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.lstat(name)):
            os.unlink(name)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _require_whole(file: IO[bytes]) -> None:
    """Bring the content to the disk and require all of it: some writers, NumPy's, do not tell of failures."""
    written = file.tell()
    file.flush()
    os.fsync(file.fileno())
    size = os.fstat(file.fileno()).st_size
    if size != written:
        raise OSError(errno.EIO, f"{size} bytes are in the file, expected {written}")


def _take_place(name: str, place: _Place) -> bool:
    """Rename a finished file to its place; False if it cannot stand in for the one that is there."""
    if place.state is not None and (place.state.st_nlink > 1 or not _keep_state(name, place)):
        return False
    try:
        os.replace(name, place.name)
    except OSError as error:
        if place.state is None or error.errno not in NOT_RENAMED:
            raise
        return False
    _sync_folder(os.path.dirname(place.name) or ".")
    return True


def _keep_state(name: str, place: _Place) -> bool:
    """Give a file the owner, mode and extended attributes of the one it replaces; False if that is denied."""
    old, new = place.state, os.stat(name)
    assert old is not None
    try:
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            os.chown(name, old.st_uid, old.st_gid)
        if stat.S_IMODE(new.st_mode) != stat.S_IMODE(old.st_mode):
            os.chmod(name, stat.S_IMODE(old.st_mode))
        kept, own = _attributes(place.descriptor), _attributes(name)
        for attribute in own.keys() - kept.keys():
            os.removexattr(name, attribute)
        for attribute, value in kept.items():
            if own.get(attribute) != value:
                os.setxattr(name, attribute, value)
    except OSError as error:
        if error.errno in DENIED:
            return False
        raise
    return True


def _attributes(file: str | int) -> dict[str, bytes]:
    """Return a file's extended attributes, access control lists among them."""
    try:
        names = os.listxattr(file)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        return {}
    return {name: os.getxattr(file, name) for name in names}


def _overwrite(place: _Place, source: int) -> None:
    """Copy finished content over the file that is there, after making sure that there is room for it."""
    assert place.state is not None
    size, before = os.fstat(source).st_size, place.state.st_size
    if size > before:
        try:
            os.posix_fallocate(place.descriptor, before, size - before)
        except OSError:
            os.ftruncate(place.descriptor, before)
            raise
    with os.fdopen(os.dup(source), "rb") as content, os.fdopen(os.dup(place.descriptor), "wb") as file:
        content.seek(0)
        shutil.copyfileobj(content, file, COPIED_AT_ONCE)
        file.flush()
        os.ftruncate(place.descriptor, size)
        os.fsync(place.descriptor)


def _sync(descriptor: int) -> None:
    """Bring a file to the disk, if it is on one."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise


def _sync_folder(folder: str) -> None:
    """Bring a new name to the disk, too."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # It can be written to, but not read.
        return
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
