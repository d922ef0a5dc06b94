"""Training reaches our trainer through whatever FAISS index the IndexDRQ is in."""

import gc
import pickle

import faiss
import numpy as np
import pytest

from drqfaiss import IndexDRQ, adopt, clone_index
from drqfaiss._core import factor, plugin
from drqfaiss._indexes import trainer
from drqfaiss._least_squares import layouts
from drqfaiss._least_squares.options import QUALITIES
from drqfaiss._plugin.layout import address
from drqfaiss.quantizer import Quantizer
from tests.indexes import NBITS, D, M, assert_searches_right, make_vectors

TRAIN = make_vectors(600, seed=7)
QUICK = {"iterations": 2, "progress": False}


def codebooks_of(index):
    return faiss.vector_to_array(faiss.downcast_index(index).rq.codebooks).reshape(M, 1 << NBITS, -1)


def test_train_gives_one_codebook_with_scales():
    index = IndexDRQ(D, M, NBITS, layout="shared", **QUICK)
    index.train(TRAIN)
    group, scale, _ = factor(codebooks_of(index))
    assert group == [0] * M
    assert min(scale) > 0
    index.add(TRAIN)
    assert_searches_right(index, TRAIN[:5])
    error = ((index.reconstruct_n() - TRAIN) ** 2).sum()
    assert error < 0.5 * ((TRAIN - TRAIN.mean(0)) ** 2).sum()


def test_train_is_quantizer_train_with_the_options():
    options = {"scale": "geometric", "prefix_weights": {2: 0.5, M: 1.0}, "beam": 3, "seed": 5, **QUICK}
    index = IndexDRQ(D, M, NBITS, **options)
    index.train(TRAIN)
    expected = Quantizer.train(TRAIN, levels=M, bits=NBITS, **options).codebooks()
    np.testing.assert_array_equal(codebooks_of(index), expected)
    assert index.rq.max_beam_size == 3


def test_prefix_weights_guide_adding_and_stay_with_copies():
    weights = {1: 1.0, M: 0.01}
    index = IndexDRQ(D, M, NBITS, prefix_weights=weights, beam=8, **QUICK)
    index.train(TRAIN)
    quantizer = Quantizer.from_index(index)
    codes = quantizer.encode(TRAIN, 8, weights)
    assert (codes != quantizer.encode(TRAIN, 8)).any()
    for encoder in (index, clone_index(index), pickle.loads(pickle.dumps(index))):
        np.testing.assert_array_equal(unpacked(encoder.sa_encode(TRAIN)), codes)


def test_an_index_of_a_quantizer_encodes_with_the_same_options():
    options = {"quality": "best", "prefix_weights": {1: 1.0, M: 0.01}, **QUICK}
    trained = IndexDRQ(D, M, NBITS, **options)
    trained.train(TRAIN)
    quantizer = Quantizer.train(TRAIN, levels=M, bits=NBITS, **options)
    given = quantizer.to_index(**options)
    assert given.rq.max_beam_size == trained.rq.max_beam_size == 32
    for index in (given, clone_index(given), pickle.loads(pickle.dumps(given))):
        np.testing.assert_array_equal(index.sa_encode(TRAIN), trained.sa_encode(TRAIN))
    assert (quantizer.to_index(beam=32).sa_encode(TRAIN) != trained.sa_encode(TRAIN)).any()
    with pytest.raises(ValueError, match=f"prefix_weights: got no weight for all {M} levels"):
        quantizer.to_index(prefix_weights={1: 1})


def test_quality_sets_the_beam_of_encoding():
    for quality, numbers in QUALITIES.items():
        assert IndexDRQ(D, M, NBITS, quality=quality).rq.max_beam_size == numbers.encoding_beam
    index = IndexDRQ(D, M, NBITS, own_first=True, quality="fast", **QUICK)
    index.train(TRAIN)
    assert factor(codebooks_of(index))[0] == [0] + [1] * (M - 1)


def unpacked(packed):
    """Codes (n, M) of packed ones."""
    bits = np.unpackbits(packed, axis=1, bitorder="little")[:, : M * NBITS].reshape(len(packed), M, NBITS)
    return bits @ (1 << np.arange(NBITS))


def test_options_may_be_numpy_numbers():
    options = {"prefix_weights": {np.int64(M): np.float32(1)}, "seed": np.int32(3), "beam": np.uint8(2)}
    index = IndexDRQ(D, M, NBITS, **options, **QUICK)
    index.train(TRAIN)
    expected = Quantizer.train(TRAIN, levels=M, bits=NBITS, **options, **QUICK).codebooks()
    np.testing.assert_array_equal(codebooks_of(index), expected)


def test_levels_too_wide_for_training_can_be_given():
    codebooks = np.random.default_rng(0).standard_normal((8, 4096, 4)).astype(np.float32)
    assert IndexDRQ.from_codebooks(codebooks).is_trained
    index = IndexDRQ(4, 8, 12, **QUICK)
    with pytest.raises(ValueError, match="8 \\* 4096 = 32768, expected at most 23170 in training"):
        index.train(codebooks[0])
    assert not index.is_trained


def pre_transform(index):
    rotation = faiss.RandomRotationMatrix(D, D)
    rotation.this.disown()  # own_fields is about both
    return faiss.IndexPreTransform(rotation, index)


CONTAINERS = {
    "IDMap": faiss.IndexIDMap,
    "IDMap2": faiss.IndexIDMap2,
    "PreTransform": pre_transform,
    "RefineFlat": faiss.IndexRefineFlat,
}


@pytest.mark.parametrize("wrap", CONTAINERS.values(), ids=CONTAINERS)
def test_containers_train_with_our_trainer_when_only_the_cpp_object_is_left(wrap):
    index = IndexDRQ(D, M, NBITS, layout="shared", **QUICK)
    outer = wrap(index)
    index.this.disown()
    outer.own_fields = True
    del index
    gc.collect()
    outer.train(TRAIN)
    inner = outer.base_index if isinstance(outer, faiss.IndexRefine) else outer.index
    assert factor(codebooks_of(inner))[0] == [0] * M


@pytest.mark.parametrize("threaded", [False, True])
def test_shards_train_from_faiss_threads(threaded):
    parts = [IndexDRQ(D, M, NBITS, **QUICK) for _ in range(3)]
    shards = faiss.IndexShards(D, threaded, True)
    for part in parts:
        shards.add_shard(part)
    shards.train(TRAIN)
    for part in parts:
        np.testing.assert_array_equal(codebooks_of(part), codebooks_of(parts[0]))


def test_adopted_indexes_keep_the_stock_trainer():
    stock = faiss.IndexResidualQuantizer(D, M, NBITS)
    stock.train(TRAIN)
    adopted = adopt(faiss.IndexResidualQuantizer(D, M, NBITS))
    adopted.train(TRAIN)
    np.testing.assert_array_equal(codebooks_of(adopted), codebooks_of(stock))


def test_training_again_replaces_what_was_cached():
    index = IndexDRQ(D, M, NBITS, **QUICK)
    for seed in (1, 2):
        index.reset()
        index.train(make_vectors(600, seed))
        index.add(TRAIN)
        assert_searches_right(index, TRAIN[:3])


BAD_TRAINING = [
    (TRAIN[:15], "x: got 15 training vectors, expected at least the 16 codewords"),
    (
        np.where(np.arange(D) == 3, np.nan, TRAIN),
        r"x: got 600 values that are NaN .*, the first at \(0, 3\)",
    ),
    (np.where(np.arange(D) == 3, np.inf, TRAIN), "x: got 600 values that are NaN or infinite"),
    (TRAIN[:0], "x: got 0 training vectors"),
]


@pytest.mark.parametrize(("x", "message"), BAD_TRAINING)
def test_bad_training_vectors(x, message):
    index = IndexDRQ(D, M, NBITS, **QUICK)
    with pytest.raises(ValueError, match=message):
        index.train(x)
    assert not index.is_trained and index.rq.codebooks.size() == 0
    with pytest.raises(ValueError, match=message):
        faiss.IndexIDMap(index).train(x)
    assert not index.is_trained and index.rq.codebooks.size() == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ZeroDivisionError("x / 0")])
def test_exceptions_of_the_trainer_come_out_unchanged(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(layouts, "train", fail)
    index = IndexDRQ(D, M, NBITS)
    for container in (index, faiss.IndexIDMap(index), faiss.IndexPreTransform(index)):
        with pytest.raises(error if isinstance(error, type) else type(error)):
            container.train(TRAIN)
        assert not index.is_trained


def test_codebooks_of_another_size_are_refused(monkeypatch):
    class Wrong:
        @staticmethod
        def level_codebooks():
            return [np.zeros((3, D), np.float32)] * M

    monkeypatch.setattr(trainer.Quantizer, "from_groups", lambda *_: Wrong)
    index = IndexDRQ(D, M, NBITS)
    with pytest.raises(
        RuntimeError, match=f"training returned {M * 3 * D} floats of codebooks, expected {M * 16 * D}"
    ):
        index.train(TRAIN)
    assert not index.is_trained


def test_our_trainer_does_not_fit_search_types_with_stored_norms():
    index = IndexDRQ(D, M, NBITS, **QUICK)
    index.rq.search_type = faiss.AdditiveQuantizer.ST_norm_qint8
    index.rq.set_derived_values()
    with pytest.raises(RuntimeError, match="stores a norm of 8 bits, expected one without"):
        index.train(TRAIN)


def test_training_options_live_as_long_as_the_cpp_object():
    index = IndexDRQ(D, M, NBITS, seed=3)
    proxy = faiss.downcast_index(index)
    assert '"seed": 3' in plugin.training(address(proxy))
