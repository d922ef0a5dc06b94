"""install: FAISS's own functions return fast indexes, until uninstall."""

import pickle

import faiss
import numpy as np
import pytest

import drqfaiss
from drqfaiss import IndexDRQ, SearchParametersDRQ
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests.indexes import D, assert_searches_right, make_index, make_vectors, stock_copy

X = make_vectors(7, seed=1)
HOOKED = ("read_index", "clone_index", "index_factory")


@pytest.fixture
def installed():
    with drqfaiss.installed():
        yield


def functions():
    return [getattr(faiss, name) for name in HOOKED]


def test_install_is_reversible():
    stock = functions()
    drqfaiss.install()
    ours = functions()
    drqfaiss.install()
    assert functions() == ours
    assert not set(ours) & set(stock)
    drqfaiss.uninstall()
    assert functions() == stock
    drqfaiss.uninstall()
    assert functions() == stock


def test_block_leaves_what_was_there():
    stock = functions()
    with pytest.raises(KeyError), drqfaiss.installed():
        raise KeyError
    assert functions() == stock
    drqfaiss.install()
    with drqfaiss.installed():
        pass
    assert functions() != stock
    drqfaiss.uninstall()


def test_functions_that_others_replaced_later_are_not_dropped(monkeypatch):
    with drqfaiss.installed():
        ours = functions()
        with monkeypatch.context() as patch:
            patch.setattr(faiss, "clone_index", len)
            with pytest.raises(RuntimeError, match=r"faiss\.clone_index: got <built-in function len>"):
                drqfaiss.uninstall()
        assert functions() == ours


def test_read_index(tmp_path):
    index = make_index()
    stock = stock_copy(index)
    path = str(tmp_path / "x.faiss")
    faiss.write_index(stock, path)
    with drqfaiss.installed():
        with open(path, "rb") as file:
            from_reader = faiss.read_index(faiss.PyCallbackIOReader(file.read))
        mapped = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
        from_bytes = faiss.deserialize_index(faiss.serialize_index(stock))
        for back in (faiss.read_index(path), from_reader, mapped, from_bytes):
            assert type(back) is IndexDRQ
            np.testing.assert_array_equal(back.search(X, 5), index.search(X, 5))


def test_pickle():
    pickled = pickle.dumps((stock_copy(make_index()), faiss.IndexIDMap2(stock_copy(make_index(0)))))
    with drqfaiss.installed():
        back, outer = pickle.loads(pickled)
    assert plugin.is_adopted(address(back))
    assert plugin.is_adopted(address(faiss.downcast_index(outer.index)))
    assert_searches_right(back, X, levels=2, params=SearchParametersDRQ(2))


def test_clone_index(installed):
    index = make_index()
    index.levels = 3
    for clone in (faiss.clone_index(index), drqfaiss.clone_index(index)):
        assert type(clone) is IndexDRQ
        assert clone.levels == 3
        np.testing.assert_array_equal(clone.search(X, 5), index.search(X, 5))
    assert type(faiss.clone_index(faiss.IndexFlatL2(D))) is faiss.IndexFlatL2
    assert type(faiss.clone_index(faiss.IndexResidualQuantizer(D, 2, 4))) is IndexDRQ


def test_inverted_lists(installed, tmp_path):
    index = faiss.index_factory(D, "IVF4,DRQ3x4")
    index.train(make_vectors(200))
    index.add(make_vectors(200))
    faiss.write_index(index, str(tmp_path / "x.faiss"))
    for back in (faiss.read_index(str(tmp_path / "x.faiss")), faiss.clone_index(index)):
        assert type(back) is type(index) is drqfaiss.IndexIVFDRQ
        np.testing.assert_array_equal(back.search(X, 5), index.search(X, 5))


@pytest.mark.parametrize("description", ["DRQ3x4", "RQ3x4"])
def test_index_factory(installed, description):
    for arguments in ((D, description), (D, description, faiss.METRIC_INNER_PRODUCT)):
        index = faiss.index_factory(*arguments)
        assert type(index) is IndexDRQ
        assert index.metric_type == (*arguments, faiss.METRIC_L2)[2]
    trained_by_drq = bool(plugin.training(address(index)))
    assert trained_by_drq == (description == "DRQ3x4")
    index.train(make_vectors(100))
    index.add(make_vectors(50))
    assert_searches_right(index, X, levels=2, params=SearchParametersDRQ(2))


def test_index_factory_fails_as_faiss_does(installed):
    for arguments in ((D, "DRQ3x17"), (D, "DRQx"), (D, "nonsense"), (D, "DRQ3x4", 77)):
        with pytest.raises(RuntimeError):
            faiss.index_factory(*arguments)
    for arguments in ((), (D,), (D, 3), (D, "DRQ3x4", 1, True, 5)):
        with pytest.raises(TypeError):
            faiss.index_factory(*arguments)


def test_missing_files_fail_as_in_faiss(installed, tmp_path):
    with pytest.raises(RuntimeError, match="could not open"):
        faiss.read_index(str(tmp_path / "none.faiss"))
