"""Whatever is written appears whole, under its name, with what belonged to the file before."""

import errno
import fcntl
import os
import socket
import stat
import threading

import pytest

from drqfaiss import _files
from drqfaiss._files import move, remove_abandoned, writing
from tests.readers import reading_in_background

OLD, NEW = b"old", b"new content"


def write(path, content=NEW):
    with writing(path) as file:
        file.write(content)


def abandoned_name(path, digits="0123456789abcdef"):
    return path.with_name(_files._prefix(path.name) + digits)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "x").write_bytes(OLD)
    return tmp_path / "x"


def test_a_new_file_has_the_mode_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").read_bytes() == NEW
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o4711, 0o666])
def test_the_mode_of_the_old_file_stays(path, mode):
    path.chmod(mode)
    write(path)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_owner_and_attributes_stay_where_that_is_allowed(path):
    if os.geteuid() == 0:
        os.chown(path, 12, 34)
    owner = (path.stat().st_uid, path.stat().st_gid)
    os.setxattr(path, "user.about", b"mine")
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == owner
    assert os.getxattr(path, "user.about") == b"mine"


@pytest.mark.parametrize("denied", ["chown", "setxattr"])
def test_a_file_whose_owner_or_attributes_cannot_be_kept_is_overwritten_in_place(path, monkeypatch, denied):
    def refuse(*arguments):
        raise PermissionError(errno.EPERM, "denied")

    real = os.stat
    os.setxattr(path, "user.about", b"mine")
    monkeypatch.setattr(_files.os, denied, refuse)
    if denied == "chown":
        monkeypatch.setattr(
            _files.os, "stat", lambda name: os.stat_result([*real(name)[:4], 99, 99, *real(name)[6:]])
        )
    inode = real(path).st_ino
    write(path)
    assert (path.read_bytes(), real(path).st_ino) == (NEW, inode)
    assert [entry.name for entry in path.parent.iterdir()] == ["x"]


def test_links_stay_links(path, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to("../second")
    (tmp_path / "second").symlink_to(path)
    write(tmp_path / "folder" / "link")
    assert (tmp_path / "folder" / "link").is_symlink() and (tmp_path / "second").is_symlink()
    assert path.read_bytes() == NEW


def test_a_dangling_link_gets_its_file(tmp_path):
    (tmp_path / "link").symlink_to("missing")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "missing").read_bytes() == NEW


def test_links_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=r"Too many levels.*a'"):
        write(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"shorter"[:2], NEW * 1000])
def test_hard_links_stay_the_same_file(path, tmp_path, content):
    other = tmp_path / "other"
    other.hardlink_to(path)
    write(path, content)
    assert other.read_bytes() == content
    assert other.stat().st_ino == path.stat().st_ino
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other", "x"]


def test_hard_links_keep_their_content_when_there_is_no_room(path, tmp_path, monkeypatch):
    def full(*arguments):
        os.truncate(path, 100)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "other").hardlink_to(path)
    monkeypatch.setattr(_files.os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: .*x'"):
        write(path)
    assert (tmp_path / "other").read_bytes() == OLD


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG])
def test_where_no_file_can_be_made_or_renamed_the_old_one_is_overwritten(path, monkeypatch, number):
    """Folders that cannot be written to, and single files mounted into a container."""
    inode, real = path.stat().st_ino, os.open
    monkeypatch.setattr(_files.os, "replace", failing(errno.EBUSY))
    write(path)
    assert (path.read_bytes(), path.stat().st_ino) == (NEW, inode)
    monkeypatch.undo()

    def no_new_files(name, flags, *mode):
        if flags & os.O_CREAT and os.path.dirname(name) == str(path.parent):
            raise OSError(number, os.strerror(number), name)
        return real(name, flags, *mode)

    monkeypatch.setattr(_files.os, "open", no_new_files)
    write(path, b"again")
    assert (path.read_bytes(), path.stat().st_ino) == (b"again", inode)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write(path.with_name("y"))
    assert caught.value.filename == str(path.with_name("y"))


def failing(number):
    def fail(*arguments, **named):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_read_only_file_is_refused_as_faiss_does(path, tmp_path, monkeypatch):
    path.chmod(0o444)
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)
    child = os.fork()
    if child == 0:  # root may write to it
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            write("x")
        except PermissionError as error:
            os._exit(0 if error.filename == "x" else 2)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == OLD
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with reading_in_background(tmp_path / "pipe") as got:
        write(tmp_path / "pipe")
    assert got == [NEW]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_a_reader_that_leaves_is_an_error_that_names_the_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = threading.Thread(target=lambda: open(tmp_path / "pipe", "rb").close())
    reader.start()
    with pytest.raises(BrokenPipeError) as caught, writing(tmp_path / "pipe") as file:
        reader.join()
        file.write(NEW)
    assert caught.value.filename == str(tmp_path / "pipe")


def test_open_files_are_written_to(path):
    ends = socket.socketpair()
    reading, writing_end = os.pipe()
    with open(path, "r+b") as file:
        inode = path.stat().st_ino
        write(f"/dev/fd/{file.fileno()}")
        assert (path.read_bytes(), path.stat().st_ino) == (NEW, inode)
    write(f"/proc/self/fd/{writing_end}")
    write(f"/dev/fd/{ends[0].fileno()}")
    assert os.read(reading, 100) == ends[1].recv(100) == NEW
    for end in ends:
        end.close()
    os.close(reading), os.close(writing_end)


def test_a_socket_stays_a_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OSError) as caught:
            write("socket")
    assert caught.value.filename == "socket"
    assert stat.S_ISSOCK(os.stat("socket").st_mode)


def test_a_device_stays_a_device(tmp_path):
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        write(path)
    except PermissionError:  # only root makes devices, and not in every container
        return
    assert stat.S_ISCHR(path.stat().st_mode)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_errors_name_the_file_and_leave_the_old_one(path, monkeypatch, call, number):
    monkeypatch.setattr(_files.os, call, failing(number))
    with pytest.raises(OSError) as caught:
        write(path)
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert path.read_bytes() == OLD
    assert [entry.name for entry in path.parent.iterdir()] == ["x"]


def test_errors_of_others_stay_as_they_are(path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), writing(path):
        os.stat("elsewhere")
    with pytest.raises(KeyError), writing(path):
        raise KeyError
    assert path.read_bytes() == OLD


def test_content_that_is_not_in_the_file_is_an_error(path):
    """NumPy writes through a stream of its own, and does not tell when closing that fails."""
    with pytest.raises(OSError, match=r"3 bytes are in the file, expected 9: .*x'"), writing(path) as file:
        file.write(b"abc")
        file.seek(9)
    assert path.read_bytes() == OLD


def test_missing_folders_and_folders_are_errors_that_name_the_file(tmp_path):
    for name, kind in {"no/x": FileNotFoundError, "": IsADirectoryError}.items():
        with pytest.raises(kind) as caught:
            write(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_killed_writers_left_is_removed_and_nothing_else(path, tmp_path):
    for name in (
        ".drqfaiss-notes",
        ".drqfaiss-0123456789abcdef-0123456789abcdef",
        _files._prefix("x") + "notes",
    ):
        (tmp_path / name).write_bytes(b"precious")
    abandoned_name(path).write_bytes(b"half")
    abandoned_name(path, "f" * 16).mkdir()
    living = abandoned_name(path, "0" * 16)
    living.write_bytes(b"being written")
    before = {entry.name for entry in tmp_path.iterdir()}
    with open(living) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(path)
        assert before - {entry.name for entry in tmp_path.iterdir()} == {abandoned_name(path).name}
    remove_abandoned(path)
    assert not living.exists()


def test_writers_at_the_same_time_leave_the_content_of_one(path):
    contents = [bytes([i]) * 200_000 for i in range(8)]
    threads = [
        threading.Thread(target=lambda content=content: [write(path, content) for _ in range(20)])
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for _ in range(200):
        assert path.read_bytes() in [OLD, *contents]
    for thread in threads:
        thread.join()
    assert [entry.name for entry in path.parent.iterdir()] == ["x"]


@pytest.mark.parametrize("failing_child", [False, True])
def test_a_child_that_is_forked_while_a_file_is_written_changes_nothing(path, failing_child):
    child = 0
    try:
        with writing(path) as file:
            file.write(b"begun by the parent, ")
            child = os.fork()
            file.write(b"ended by it" if child else b"and by its child")
            if child:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            elif failing_child:
                raise ZeroDivisionError
    except (OSError, ZeroDivisionError) as error:
        if child:
            raise
        expected = ZeroDivisionError if failing_child else OSError
        os._exit(0 if type(error) is expected else 1)
    assert path.read_bytes() == b"begun by the parent, ended by it"
    assert os.listdir(path.parent) == ["x"]


def test_a_finished_file_moves(path, tmp_path):
    path.chmod(0o600)
    write(tmp_path / "made")
    assert move(tmp_path / "made", path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (NEW, 0o600)
    (tmp_path / "made").write_bytes(b"later")
    (tmp_path / "second").hardlink_to(path)
    assert not move(tmp_path / "made", path)
    assert (path.read_bytes(), (tmp_path / "made").read_bytes()) == (NEW, b"later")
