"""The check of FAISS's binary interface: what it finds and how it fails."""

import ctypes
import os
import re
import subprocess
import sys
import time

import faiss
import pytest

from drqfaiss import _faiss_abi
from drqfaiss._core import plugin
from drqfaiss._plugin import check, check_ivf, identity
from tests.indexes import state_count


def test_facts():
    facts = _faiss_abi.FACTS
    assert facts["faiss"] == faiss.__version__
    assert facts["libfaiss"].endswith("libfaiss.so")
    assert "libgomp" in facts["openmp"]
    assert facts["threads"] == faiss.omp_get_max_threads()
    assert {"search", "range_search", "train", "add", "sa_encode", "destroy"} <= facts["slots"].keys()
    assert len(set(facts["offsets"].values())) > 10


def test_check_is_repeatable_and_quick():
    start = time.perf_counter()
    again = _faiss_abi.self_check()
    assert time.perf_counter() - start < 0.5
    assert again["offsets"] == _faiss_abi.FACTS["offsets"]


def test_probes_leave_no_state():
    before = state_count()
    _faiss_abi.self_check()
    assert state_count() == before


def test_no_openmp_runtime_is_linked():
    """A second runtime would start its own threads beside FAISS's, or another one, by import order."""
    from drqfaiss import _core

    needed = subprocess.run(["ldd", _core.__file__], capture_output=True, text=True, check=True).stdout
    assert not re.search("omp", needed)


def import_after(preparation, **environment):
    """Stderr of a fresh interpreter that opens the plug-in after some Python statements."""
    code = f"import faiss, drqfaiss\n{preparation}\nimport drqfaiss._faiss_abi"
    variables = {**os.environ, **environment}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    return result.stderr


def assert_refused(stderr, reason):
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: drqfaiss cannot work inside faiss ")
    assert reason in last
    wheels = ", ".join(_faiss_abi.TESTED_BUILDS)
    assert f"Known to work: the wheels {wheels} for Linux on x86_64 and aarch64" in last


def test_import_works():
    assert import_after("") == ""


@pytest.mark.parametrize("order", ["drqfaiss._faiss_abi, faiss, numpy", "numpy, drqfaiss._faiss_abi, faiss"])
def test_import_order_does_not_matter(order):
    code = f"import {order}; from drqfaiss._core import plugin; print(plugin.facts()['openmp'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == _faiss_abi.FACTS["openmp"]


def test_importing_drqfaiss_looks_at_nothing():
    code = "import sys, drqfaiss, drqfaiss.evaluation; assert 'drqfaiss._faiss_abi' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=True).returncode == 0


def test_a_version_is_not_told_by_its_name():
    assert import_after("faiss.__version__ = '9.9.9'") == ""


@pytest.mark.parametrize(
    ("value", "reason"), [("off", "DRQFAISS_PLUGIN is off"), ("on", "got 'on', expected")]
)
def test_switch(value, reason):
    assert_refused(import_after("", DRQFAISS_PLUGIN=value), reason)


def test_a_build_without_the_plugin_says_so():
    without = "from drqfaiss._core import plugin; plugin.is_built = False"
    assert_refused(import_after(without), "it was built without the plug-in, DRQFAISS_WITH_PLUGIN=OFF")


@pytest.mark.parametrize("name", ["ntotal", "code_size", "d", "metric_type", "is_trained"])
def test_field_that_cannot_be_located(name):
    broken = f"faiss.IndexResidualQuantizer.{name} = property(lambda _: 0, lambda *_: None)"
    assert_refused(import_after(broken), f"{name} was found at ")


def test_field_read_wrongly():
    shifted = """
import ctypes
from drqfaiss._core import plugin
set_layout = plugin.set_layout
plugin.set_layout = lambda offsets: set_layout({**offsets, "code_size": offsets["ntotal"]})
from drqfaiss import _faiss_abi
"""
    assert_refused(import_after(shifted), "code_size was read wrongly: got ")


@pytest.mark.parametrize(
    ("field", "taken_for", "reason"),
    [
        ("ivf_nprobe", "ivf_nlist", "ivf_nprobe was read wrongly: got 2, expected"),
        ("stats_ndis", "stats_nlist", "stats_ndis was read wrongly: got 0, expected"),
    ],
)
def test_ivf_field_taken_for_another(field, taken_for, reason):
    shifted = f"""
from drqfaiss._core import plugin
set_layout = plugin.set_layout
plugin.set_layout = lambda offsets: set_layout({{**offsets, "{field}": offsets["{taken_for}"]}})
from drqfaiss import _faiss_abi
"""
    assert_refused(import_after(shifted), reason)


def test_ivf_search_that_finds_something_else():
    """As if a slot or a field of the scanner or the result handler had moved."""
    reversed_queries = """
import drqfaiss._plugin.check_ivf as check
search = check._search
calls = iter(range(1000))
check._search = lambda index, x, *rest: search(index, x[::-1].copy() if next(calls) % 2 else x, *rest)
from drqfaiss import _faiss_abi
"""
    assert_refused(
        import_after(reversed_queries), "IVF search with parallel_mode 0, max_codes 0, metric 1 finds"
    )


def test_another_class_than_expected():
    swapped = "faiss.IndexResidualQuantizer = lambda *_: faiss.IndexLocalSearchQuantizer(24, 3, 5)"
    assert_refused(import_after(swapped), "is _ZTVN5faiss25IndexLocalSearchQuantizerE, expected")


def test_constant_that_changed():
    assert_refused(import_after("faiss.METRIC_L2 = 7"), "are (0, 7), expected (0, 1)")


def test_selector_that_answers_wrongly():
    swapped = "R = faiss.IDSelectorRange; faiss.IDSelectorRange = lambda *_: R(0, 3)"
    assert_refused(import_after(swapped), "IDSelectorRange(5, 9) does not answer as expected")


def test_destructor_that_does_not_run():
    kept = """
from drqfaiss._core import plugin
counts = iter([0, 1, 1])
plugin.count = lambda: next(counts)
from drqfaiss import _faiss_abi
"""
    assert_refused(import_after(kept), "deleting an index did not run the destructor")


def falsified(name, by):
    """Statements after which the plug-in takes one measured offset for another."""
    return f"""
from drqfaiss._core import plugin
set_layout = plugin.set_layout
plugin.set_layout = lambda offsets: set_layout({{**offsets, "{name}": offsets["{name}"] + {by}}})
"""


@pytest.mark.parametrize(("name", "by"), [("scanner_sel", -8), ("range_labels", 8), ("rq_nbits", 1)])
def test_a_falsified_offset_is_refused(name, by):
    assert_refused(import_after(falsified(name, by)), f"{name} was read wrongly")


@pytest.mark.parametrize("by", [8, -8, 1])
@pytest.mark.parametrize("name", _faiss_abi.FACTS["offsets"])
def test_every_field_is_read_back(name, by):
    """As the check would do it if the plug-in had been told another place for one field."""
    probe, ivf_probe = faiss.IndexResidualQuantizer(24, 3, 5), check_ivf.make_probe()
    flat, ivf = check._flat_layout(probe), check_ivf.layout(ivf_probe)
    layout = flat if name in flat.offsets else ivf

    def read(origin, field):
        start = origin + layout.offsets[field] + (by if field == name else 0)
        return int.from_bytes(ctypes.string_at(start, 8), "little")

    with pytest.raises(RuntimeError, match=f"{name} was read wrongly"):
        layout.require_read(read)


def test_layout_is_set_once():
    offsets = _faiss_abi.FACTS["offsets"]
    plugin.set_layout(offsets)
    with pytest.raises(ValueError, match=r"layout: got d at 16, expected 8 as before"):
        plugin.set_layout({**offsets, "d": 16})
    assert plugin.word_at(faiss.IndexFlatL2(77).this.__int__(), "d") & 0xFFFFFFFF == 77


@pytest.mark.parametrize("name", ["IDSelectorRange", "InvertedListScanner"])
def test_objects_that_need_more_room(name):
    small = f"""
from drqfaiss._core import plugin
rooms = plugin.rooms()
plugin.rooms = lambda: {{**rooms, "{name}": 24}}
"""
    assert_refused(import_after(small), f"{name} takes ")


def test_an_allocator_of_its_own():
    other = "from drqfaiss._core import plugin\nplugin.shares_allocator = lambda: False"
    assert_refused(import_after(other), "libfaiss has a memory allocator of its own")


PRELOADED_ALLOCATOR = """
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void*, size_t);
extern void __libc_free(void*);
void* malloc(size_t size) { return __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return __libc_calloc(count, size); }
void* realloc(void* old, size_t size) { return __libc_realloc(old, size); }
void free(void* old) { __libc_free(old); }
"""


def test_an_allocator_that_is_preloaded(tmp_path):
    """All libraries of the process use it: jemalloc, tcmalloc or a sanitizer's."""
    library = tmp_path / "allocator.so"
    compile_c = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-x", "c", "-", "-o", library]
    subprocess.run(compile_c, input=PRELOADED_ALLOCATOR, text=True, check=True)
    code = "from drqfaiss import _faiss_abi; print(_faiss_abi.FACTS['faiss'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == faiss.__version__, done.stderr


@pytest.mark.parametrize("symbol", identity.KNOWN["virtual_functions"])
def test_an_unknown_virtual_function(symbol):
    """It might change an index without our knowledge."""
    longer = f"""
from drqfaiss._core import plugin
functions = plugin.virtual_functions
plugin.virtual_functions = lambda name: functions(name) + ["new"] * (name == {symbol!r})
"""
    assert_refused(import_after(longer), f"{symbol} has ")


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "riscv64")]
)
def test_other_platforms(system, machine):
    elsewhere = f"import platform, sys; sys.platform = {system!r}; platform.machine = lambda: {machine!r}"
    assert_refused(
        import_after(elsewhere), f"this is {system} on {machine}, expected linux on x86_64 or aarch64"
    )


def test_layout_must_be_complete():
    offsets = _faiss_abi.FACTS["offsets"]
    with pytest.raises(ValueError, match="offsets, expected"):
        plugin.set_layout({name: offsets[name] for name in list(offsets)[1:]})
    renamed = {("D" if name == "d" else name): offset for name, offset in offsets.items()}
    with pytest.raises(ValueError, match="unknown field D"):
        plugin.set_layout(renamed)
    assert _faiss_abi.self_check()["offsets"] == offsets
