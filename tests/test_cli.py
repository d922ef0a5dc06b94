from importlib.metadata import entry_points

import faiss
import pytest

import drqfaiss
from drqfaiss.cli import main


def test_info_tells_versions_and_simd_level(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    assert faiss.__version__ in lines["faiss"]
    assert lines["SIMD level"].strip() == drqfaiss.simd_level()
    assert "passed" in lines["self-check"]
    assert "search" in lines["self-check"]


@pytest.mark.parametrize("arguments", [[], ["searhc"]])
def test_wrong_commands_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: drqfaiss" in capsys.readouterr().err


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="drqfaiss")
    assert command.load() is main
