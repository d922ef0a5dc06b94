"""The import-time check of FAISS's binary interface: what it finds and how it fails."""

import os
import re
import subprocess
import sys
import time

import faiss
import pytest

from drqfaiss import _faiss_abi
from drqfaiss._core import plugin
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
    """Stderr of a fresh interpreter that imports drqfaiss.index after some Python statements."""
    code = f"import faiss\n{preparation}\nimport drqfaiss.index"
    variables = {**os.environ, **environment}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables)
    return result.stderr


def assert_refused(stderr, reason):
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: drqfaiss cannot work with faiss ")
    assert reason in last
    assert "Known to work: the faiss-cpu wheels 1.14.2, 1.14.3, 1.15.0, 1.15.1 for Linux x86-64" in last


def test_import_works():
    assert import_after("") == ""


@pytest.mark.parametrize("order", ["drqfaiss.index, faiss, numpy", "numpy, drqfaiss.index, faiss"])
def test_import_order_does_not_matter(order):
    code = f"import {order}; from drqfaiss._core import plugin; print(plugin.facts()['openmp'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == _faiss_abi.FACTS["openmp"]


def test_untested_version_is_refused_unless_allowed():
    fake = "faiss.__version__ = '9.9.9'"
    assert_refused(import_after(fake), "faiss 9.9.9")
    assert_refused(import_after(fake), "set DRQFAISS_ALLOW_UNTESTED_FAISS=1")
    assert import_after(fake, DRQFAISS_ALLOW_UNTESTED_FAISS="1") == ""


def test_allowing_untested_versions_does_not_skip_the_check():
    broken = """
faiss.__version__ = '9.9.9'
faiss.IndexResidualQuantizer.ntotal = property(lambda _: 0, lambda *_: None)
"""
    assert_refused(import_after(broken, DRQFAISS_ALLOW_UNTESTED_FAISS="1"), "ntotal was found at no offset")


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
_faiss_abi.self_check()
"""
    assert_refused(import_after(shifted), "the probe index was read wrongly: code_size is 3, expected 2")


@pytest.mark.parametrize(
    ("field", "taken_for", "reason"),
    [
        ("ivf_nprobe", "ivf_nlist", "the probe IVF index was read wrongly: nprobe is 2, expected 1"),
        ("stats_ndis", "stats_nlist", "counts nq, nlist, ndis, nheap_updates"),
    ],
)
def test_ivf_field_taken_for_another(field, taken_for, reason):
    shifted = f"""
from drqfaiss._core import plugin
set_layout = plugin.set_layout
plugin.set_layout = lambda offsets: set_layout({{**offsets, "{field}": offsets["{taken_for}"]}})
from drqfaiss import _faiss_abi
_faiss_abi.self_check()
"""
    assert_refused(import_after(shifted), reason)


def test_ivf_search_that_finds_something_else():
    """As if a slot or a field of the scanner or the result handler had moved."""
    reversed_queries = """
import drqfaiss._faiss_abi_ivf as check
search = check._search
calls = iter(range(1000))
check._search = lambda index, x, *rest: search(index, x[::-1].copy() if next(calls) % 2 else x, *rest)
from drqfaiss import _faiss_abi
_faiss_abi.self_check()
"""
    assert_refused(
        import_after(reversed_queries), "IVF search with parallel_mode 0, max_codes 0, metric 1 finds"
    )


def test_another_class_than_expected():
    swapped = "faiss.IndexResidualQuantizer = lambda *_: faiss.IndexLocalSearchQuantizer(24, 3, 5)"
    assert_refused(
        import_after(swapped), "virtual table is _ZTVN5faiss25IndexLocalSearchQuantizerE, expected"
    )


def test_constant_that_changed():
    assert_refused(import_after("faiss.METRIC_L2 = 7"), "are (0, 7, 2), expected (0, 1, 2)")


def test_selector_that_answers_wrongly():
    swapped = "R = faiss.IDSelectorRange; faiss.IDSelectorRange = lambda *_: R(0, 3)"
    assert_refused(import_after(swapped), "IDSelectorRange(5, 9) does not answer as expected")


def test_destructor_that_does_not_run():
    kept = """
from drqfaiss._core import plugin
counts = iter([0, 1, 1])
plugin.count = lambda: next(counts)
from drqfaiss import _faiss_abi
_faiss_abi.self_check()
"""
    assert_refused(import_after(kept), "deleting an index did not run the destructor")


def test_no_libfaiss(tmp_path):
    missing = f"faiss.__file__ = {str(tmp_path / '__init__.py')!r}"
    assert_refused(import_after(missing), f"{tmp_path / 'libfaiss.so'} does not exist")


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "aarch64")]
)
def test_other_platforms(system, machine):
    elsewhere = f"import platform, sys; sys.platform = {system!r}; platform.machine = lambda: {machine!r}"
    assert_refused(import_after(elsewhere), f"this is {system} on {machine}, expected linux on x86_64")


def test_layout_must_be_complete():
    offsets = _faiss_abi.FACTS["offsets"]
    with pytest.raises(ValueError, match="offsets, expected"):
        plugin.set_layout({name: offsets[name] for name in list(offsets)[1:]})
    renamed = {("D" if name == "d" else name): offset for name, offset in offsets.items()}
    with pytest.raises(ValueError, match="unknown field D"):
        plugin.set_layout(renamed)
    assert plugin.describe is not None and _faiss_abi.self_check()["offsets"] == offsets
