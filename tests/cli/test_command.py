import json
import subprocess
import sys
from importlib.metadata import entry_points

import faiss
import numpy as np
import pytest

from drqfaiss.cli import command, main


@pytest.mark.parametrize("arguments", [[], ["searhc"], ["search", "x.faiss", "q.npy", "-k", "0"]])
def test_wrong_commands_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: drqfaiss" in capsys.readouterr().err


def test_the_command_is_installed():
    (entry,) = entry_points(group="console_scripts", name="drqfaiss")
    assert entry.load() is main


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("name", [None, *command.COMMANDS])
def test_help_fits_a_terminal_of_80_columns(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main(["--help"] if name is None else [name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_text_and_json_say_the_same(files, capsys):
    arguments = ["search", str(files / "filled.faiss"), str(files / "query.npy"), "-k", "2"]
    assert main(arguments) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert header.split() == list(rows[0]) == ["query", "rank", "id", "distance"]
    assert [line.split()[:3] for line in lines] == [[str(row[name]) for name in row][:3] for row in rows]


def test_threads_are_set_for_the_command_only(files, run):
    before = faiss.omp_get_max_threads()
    told = run("bench", files / "data.hdf5", "--factory", "Flat", "--threads", 3, "--runs", 1, "--seconds", 0)
    assert told["threads"] == 3
    assert faiss.omp_get_max_threads() == before


def test_what_is_timed_waits_without_spinning(monkeypatch):
    started = []
    monkeypatch.setattr(command.os, "execve", lambda *arguments: started.append(arguments))
    monkeypatch.setattr(sys, "argv", ["drqfaiss", "bench", "none.hdf5"])
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert main() == 1
    ((program, arguments, environment),) = started
    assert (program, arguments) == (sys.executable, sys.orig_argv)
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert main() == 1
    monkeypatch.setattr(sys, "argv", ["drqfaiss", "info"])
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main() == 0
    assert len(started) == 1


def test_errors_have_no_traceback_and_status_1(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "drqfaiss", "info", "none.faiss"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "drqfaiss info: error: none.faiss: No such file or directory\n"


def test_a_reader_that_stops_early_is_no_error(files):
    arguments = ["search", str(files / "filled.faiss"), str(files / "base.npy"), "-k", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "drqfaiss", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_the_keyboard_ends_a_command(monkeypatch, files):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.info, "run", interrupt)
    assert main(["info"]) == 130


@pytest.mark.parametrize("number", ["nan", "-1", "inf", "soon"])
def test_times_are_finite_numbers(files, number, capsys):
    for called in ("build --checkpoint", "eval --seconds", "bench --seconds"):
        with pytest.raises(SystemExit, match="2"):
            main([*called.split(), number, str(files / "trained.faiss"), str(files / "base.npy"), "-o", "x"])
        assert (
            "invalid seconds value" in (told := capsys.readouterr().err) or "expected a finite number" in told
        )


@pytest.mark.parametrize("name", ["x.npy", "link.npy", "./x.npy"])
def test_vectors_are_not_written_over(files, fails, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = tmp_path / "x.npy"
    np.save(vectors, np.load(files / "base.npy"))
    (tmp_path / "link.npy").symlink_to(vectors)
    before = vectors.read_bytes()
    for called in (["train"], ["build", files / "trained.faiss"], ["search", files / "filled.faiss"]):
        told = fails(*called, vectors, "-o", name)
        assert f"{name}: got the file of the vectors to read, expected another file to write" in told
    assert vectors.read_bytes() == before
