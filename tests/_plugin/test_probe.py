"""A FAISS that drqfaiss does not know: tried in a child process, in parts, and remembered."""

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import faiss
import pytest

from drqfaiss._plugin import probe
from drqfaiss._plugin.capabilities import CAPABILITIES
from drqfaiss._plugin.identity import KNOWN, Identity, _sections, build_id_of, identify

WHEEL = Path(faiss.__file__).parent
ALL_ON = dict.fromkeys(CAPABILITIES, "")
# What a program sees of FAISS: capabilities, ids of a flat and of an IVF search, warnings.
PROGRAM = """
import json, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import drqfaiss
    from tests.indexes import make_index, make_vectors
    from tests.ivf_indexes import make_ivf
    x = make_vectors(5, seed=1)
    ids = [make().search(x, 4)[1].tolist() for make in (make_index, make_ivf)]
    two = drqfaiss.SearchParametersIVFDRQ(levels=2, nprobe=3)
    ids.append(make_ivf().search(x, 4, params=two)[1].tolist())
    capabilities = drqfaiss.plugin_info()["capabilities"]
print(json.dumps([capabilities, ids, [str(w.message) for w in caught if w.category is RuntimeWarning]]))
"""


def run(tmp_path, path="", **environment):
    """Capabilities, ids and warnings of the program in an interpreter of its own; `path` comes first."""
    variables = {**os.environ, "DRQFAISS_CACHE": str(tmp_path / "cache"), **environment}
    variables["PYTHONPATH"] = os.pathsep.join([str(path), os.getcwd()])
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected_ids(tmp_path_factory):
    return run(tmp_path_factory.mktemp("known"))[1]


@pytest.fixture(scope="module")
def doctored(tmp_path_factory):
    """A copy of the installed wheel under another build id."""
    folder = tmp_path_factory.mktemp("doctored")
    shutil.copytree(WHEEL, folder / "faiss")
    shutil.copytree(WHEEL.parent / "faiss_cpu.libs", folder / "faiss_cpu.libs")
    library = folder / "faiss" / "libfaiss.so"
    content, old = library.read_bytes(), bytes.fromhex(identify().build_id)
    assert content.count(old) == 1
    library.write_bytes(content.replace(old, bytes(len(old))))
    return folder


def with_customization(tmp_path, statements):
    """A folder whose sitecustomize runs statements when the plug-in's module is imported, in children too."""
    folder = tmp_path / "custom"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import drqfaiss._core as core\n{statements}\n")
    return folder


def test_an_unknown_library_that_fits(doctored, tmp_path, expected_ids):
    capabilities, ids, warnings = run(tmp_path, doctored)
    assert capabilities == ALL_ON
    assert ids == expected_ids
    assert len(warnings) == 1
    assert "was not tested with faiss" in warnings[0]
    (cached,) = (tmp_path / "cache").iterdir()
    assert cached.name.startswith("faiss-" + "00" * 20)
    assert json.loads(cached.read_text()) == ALL_ON


def test_the_cache_is_believed(doctored, tmp_path, expected_ids):
    run(tmp_path, doctored)
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_text(json.dumps({**ALL_ON, "flat": "as I say"}))
    capabilities, ids, warnings = run(tmp_path, doctored)
    assert "as I say" in capabilities["flat"]
    assert ids == expected_ids
    assert ["as I say" in warning for warning in warnings].count(True) == 1
    assert run(tmp_path, doctored, DRQFAISS_PLUGIN="probe")[0] == ALL_ON
    assert json.loads(cached.read_text()) == ALL_ON


@pytest.mark.parametrize(
    "content", ["", "[]", '{"flat": ""}', '{"flat": 1, "ivf_lists": 2, "ivf_scanner": 3}']
)
def test_a_damaged_cache_is_ignored(content, tmp_path):
    path = tmp_path / "verdict"
    path.write_text(content)
    assert probe._read(path) is None
    probe._write(path, ALL_ON)
    assert probe._read(path) == ALL_ON
    assert [file.name for file in tmp_path.iterdir()] == ["verdict"]


def test_no_place_for_the_cache(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    probe._write(file / "folder" / "verdict", ALL_ON)
    assert probe._read(file / "folder" / "verdict") is None
    identity = Identity("libfaiss.so", "abc", None)
    for name, value in (("DRQFAISS_CACHE", ""), ("XDG_CACHE_HOME", str(tmp_path / "users"))):
        monkeypatch.setenv(name, value)
    assert probe._cache_path(identity).parent == tmp_path / "users" / "drqfaiss"
    monkeypatch.setenv("DRQFAISS_CACHE", str(tmp_path / "own"))
    assert probe._cache_path(identity).parent == tmp_path / "own"


CRASH = "import ctypes; ctypes.string_at(0)"
CRASHES = {
    "flat": f"def crash(*_): {CRASH}\ncore.plugin.describe = crash",
    "ivf_lists": f"def crash(*_): {CRASH}\ncore.plugin.open_ivf = crash",
    "ivf_scanner": (
        "open_ivf, set_layout, scanner = core.plugin.open_ivf, core.plugin.set_layout, []\n"
        "core.plugin.open_ivf = lambda wanted: (scanner.append(wanted), open_ivf(wanted))\n"
        "adopt = core.plugin.adopt\n"
        "def crash(index):\n"
        "    import sys\n"
        "    by_list = ((0, 0),)\n"
        "    if scanner == [True] and sys._getframe(1).f_locals.get('ways', by_list) != by_list:\n"
        f"        {CRASH}\n"
        "    adopt(index)\n"
        "core.plugin.adopt = crash"
    ),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_crash_is_a_verdict(capability, doctored, tmp_path, expected_ids):
    custom = with_customization(tmp_path, CRASHES[capability])
    capabilities, ids, warnings = run(tmp_path, f"{custom}{os.pathsep}{doctored}")
    assert f"signal 11 (SIGSEGV) in the {capability} probe" in capabilities[capability]
    on = CAPABILITIES[: CAPABILITIES.index(capability)]
    assert [name for name, reason in capabilities.items() if not reason] == list(on)
    if capability != "ivf_scanner":  # without our scanner levels still count in a search by list
        assert any("search through Python instead" in warning for warning in warnings)
    assert ids == expected_ids


@pytest.mark.slow
def test_a_hang_is_a_verdict(doctored, tmp_path, monkeypatch):
    hanging = with_customization(
        tmp_path, "def hang(*_):\n    import time; time.sleep(100)\ncore.plugin.describe = hang"
    )
    monkeypatch.setattr(probe, "TIMEOUT", 5.0)
    monkeypatch.setattr(sys, "path", [str(hanging), *sys.path])
    ended_in, how, refused = probe._run_child(identify(), list(CAPABILITIES))
    assert (ended_in, how, refused) == ("flat", "no answer in 5 s", {})


@pytest.mark.parametrize(
    ("moved", "off"),
    [
        ("ntotal", "flat"),
        ("scanner_sel", "flat"),  # nothing may be used when one field is read wrongly
    ],
)
def test_a_moved_field(moved, off, doctored, tmp_path, expected_ids):
    shifted = (
        "set_layout = core.plugin.set_layout\n"
        f"core.plugin.set_layout = lambda o: set_layout({{**o, '{moved}': o['{moved}'] + 8}})"
    )
    capabilities, ids, _ = run(tmp_path, f"{with_customization(tmp_path, shifted)}{os.pathsep}{doctored}")
    assert f"{moved} was read wrongly" in capabilities[off]
    assert all(capabilities.values())
    assert ids == expected_ids


def with_other_function(library):
    """The binary with reset() in the slot of update_vectors() in the IVF class's virtual table."""
    sections = [(kind, place.start, library[place], link) for kind, place, link in _sections(library)]
    _, _, symbols, link = next(section for section in sections if section[0] == 11)
    names, numbers, values = sections[link][2], {}, {}
    for i, (name, _, _, _, value, _) in enumerate(struct.iter_unpack("<IBBHQQ", symbols)):
        numbers[names[name : names.index(b"\0", name)]], values[i] = i, value
    slot = values[numbers[b"_ZTVN5faiss25IndexIVFResidualQuantizerE"]] + 8 * (2 + 38)
    reset = numbers[b"_ZN5faiss8IndexIVF5resetEv"]
    for kind, start, content, _ in sections:
        for i, (offset, info, _) in enumerate(struct.iter_unpack("<QQq", content) if kind == 4 else ()):
            if offset == slot:
                entry = start + 24 * i + 8
                changed = struct.pack("<Q", reset << 32 | info & 0xFFFFFFFF)
                return library[:entry] + changed + library[entry + 8 :]
    raise AssertionError("no relocation of the slot")


def test_a_library_without_a_virtual_function(doctored, tmp_path, expected_ids):
    """As if a release had given the IVF class another search: flat indexes stay fast."""
    folder = tmp_path / "other"
    shutil.copytree(doctored, folder)
    library = folder / "faiss" / "libfaiss.so"
    library.write_bytes(with_other_function(library.read_bytes()))
    capabilities, ids, _ = run(tmp_path, folder)
    assert capabilities["flat"] == ""
    assert "has _ZN5faiss8IndexIVF5resetEv in slot 38, expected" in capabilities["ivf_lists"]
    assert capabilities["ivf_scanner"] == "ivf_lists is off"
    assert ids == expected_ids


def test_build_ids():
    library = (WHEEL / "libfaiss.so").read_bytes()
    assert KNOWN["builds"][platform.machine()][build_id_of(library)] == f"faiss-cpu {faiss.__version__}"
    without = library.replace(bytes.fromhex(identify().build_id), bytes(20))
    assert build_id_of(without) == "00" * 20
    note = library.index(b"GNU\0" + bytes.fromhex(identify().build_id))
    unnamed = library[:note] + b"XXX\0" + library[note + 4 :]
    assert build_id_of(unnamed).startswith("exports-")
    assert build_id_of(unnamed) != build_id_of(
        unnamed.replace(b"IndexIVF14update_vectors", b"IndexIVF14update_vectorz")
    )
