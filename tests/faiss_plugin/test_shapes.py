"""What does not fit together is refused before memory is read: all of it can be set from Python."""

import faiss
import numpy as np
import pytest

import drqfaiss

D, LISTS, M, NBITS, ROWS = 8, 8, 3, 4, 64
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, D)).astype("f4")
CODEBOOKS = RNG.normal(size=(M, 2**NBITS, D)).astype("f4")


def make(kind, adopted=True):
    search_type = faiss.AdditiveQuantizer.ST_decompress
    if kind == "flat":
        index = faiss.IndexResidualQuantizer(D, M, NBITS, faiss.METRIC_L2, search_type)
    else:
        coarse = faiss.IndexFlatL2(D)
        coarse.add(X[:LISTS])
        index = faiss.IndexIVFResidualQuantizer(coarse, D, LISTS, M, NBITS, faiss.METRIC_L2, search_type)
        index.nprobe = LISTS
    faiss.copy_array_to_vector(CODEBOOKS.ravel(), index.rq.codebooks)
    index.rq.compute_codebook_tables()
    index.rq.is_trained = index.is_trained = True
    index.add(X)
    return drqfaiss.adopt(index) if adopted else index


def set_bits(index, *bits):
    faiss.copy_array_to_vector(np.array(bits, "u8"), index.rq.nbits)


def set_offsets(index, *offsets):
    faiss.copy_array_to_vector(np.array(offsets, "u8"), index.rq.codebook_offsets)


def give_lists(index, nlist, code_size):
    index.own_invlists = False
    lists = faiss.ArrayInvertedLists(nlist, code_size)
    index.invlists = lists
    index.referenced_objects = [*getattr(index, "referenced_objects", []), lists]


def give_coarse(index, coarse):
    index.quantizer = coarse
    index.referenced_objects = [*getattr(index, "referenced_objects", []), coarse]


QUANTIZER_MISFITS = {
    "codebooks resized": (lambda i: i.rq.codebooks.resize(100), "rq.codebooks is 100, expected 384"),
    "d of the quantizer": (lambda i: setattr(i.rq, "d", 4), "expected 192"),
    "both d": (lambda i: (setattr(i, "d", 4), setattr(i.rq, "d", 4)), "expected 192"),
    "d of the index": (lambda i: setattr(i, "d", 4), "rq.d is 8, expected 4"),
    "no offsets": (lambda i: i.rq.codebook_offsets.clear(), "rq.codebook_offsets is 0, expected 4"),
    "offsets": (lambda i: set_offsets(i, 0, 16, 20, 48), r"rq.codebook_offsets\[2\] is 20, expected 32"),
    "huge offsets": (lambda i: set_offsets(i, 0, 16, 2**62, 48), r"rq.codebook_offsets\[2\] is"),
    "no bits": (lambda i: i.rq.nbits.clear(), "rq.nbits is empty"),
    "more bits": (lambda i: set_bits(i, 16, 16, 16), r"rq.codebook_offsets\[1\] is 16, expected 65536"),
    "absurd bits": (lambda i: set_bits(i, 4, 64, 4), "level of 64 bits, expected 1 to 16"),
    "more levels": (lambda i: set_bits(i, 4, 4, 4, 4), "rq.M is 3, expected 4"),
    "M": (lambda i: setattr(i.rq, "M", 9), "rq.M is 9, expected 3"),
    "code size of the quantizer": (
        lambda i: setattr(i.rq, "code_size", 99),
        "rq.code_size is 99, expected 2",
    ),
    "code size 0": (lambda i: setattr(i, "code_size", 0), "code_size is 0, expected 2"),
    "code size": (lambda i: setattr(i, "code_size", 5), "code_size is 5, expected 2"),
}
FLAT_MISFITS = {
    "ntotal": (lambda i: setattr(i, "ntotal", 10**9), "128 bytes of codes, 1000000000 vectors of 2 bytes"),
    "codes": (lambda i: i.codes.resize(7), "7 bytes of codes, 64 vectors of 2 bytes"),
}
IVF_MISFITS = {
    "fewer lists": (lambda i: give_lists(i, 3, 2), "invlists.nlist is 3, expected 8"),
    "wider lists": (lambda i: give_lists(i, LISTS, 5), "invlists.code_size is 5, expected 2"),
    "nlist": (lambda i: setattr(i, "nlist", 90), "expected 90"),
    "no lists": (
        lambda i: (setattr(i, "own_invlists", False), setattr(i, "invlists", None)),
        "no inverted lists",
    ),
    "emptied centroids": (lambda i: i.quantizer.reset(), "quantizer.ntotal is 0, expected 8"),
    "other centroids": (lambda i: give_coarse(i, faiss.IndexFlatL2(3)), "quantizer.d is 3, expected 8"),
}
CASES = [
    *[(kind, *case) for kind in ("flat", "ivf") for case in QUANTIZER_MISFITS.values()],
    *[("flat", *case) for case in FLAT_MISFITS.values()],
    *[("ivf", *case) for case in IVF_MISFITS.values()],
]
NAMES = [f"{kind}: {name}" for kind in ("flat", "ivf") for name in QUANTIZER_MISFITS]
NAMES += [f"flat: {name}" for name in FLAT_MISFITS] + [f"ivf: {name}" for name in IVF_MISFITS]


@pytest.mark.parametrize(("kind", "change", "message"), CASES, ids=NAMES)
def test_misfits_are_refused_by_every_search(kind, change, message):
    index = make(kind)
    index.search(X[:2], 3)  # caches hold what was
    change(index)
    stock = faiss.IndexResidualQuantizer if kind == "flat" else faiss.IndexIVFResidualQuantizer
    x = np.zeros((4, index.d), "f4")
    D_out, I_out = np.empty((4, 3), "f4"), np.empty((4, 3), "i8")
    with pytest.raises(RuntimeError, match=message):
        stock.search_c(index, 4, faiss.swig_ptr(x), 3, faiss.swig_ptr(D_out), faiss.swig_ptr(I_out), None)
    result = faiss.RangeSearchResult(4)
    with pytest.raises(RuntimeError, match=message):
        stock.range_search_c(index, 4, faiss.swig_ptr(x), 1.0, result, None)
    if kind == "ivf":
        index.parallel_mode = 1  # FAISS searches, with our scanner
        with pytest.raises(RuntimeError, match=message):
            stock.search_c(index, 4, faiss.swig_ptr(x), 3, faiss.swig_ptr(D_out), faiss.swig_ptr(I_out), None)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [(kind, *case) for kind in ("flat", "ivf") for case in QUANTIZER_MISFITS.values()],
)
def test_misfits_are_refused_by_adding_and_encoding(kind, change, message):
    index = make(kind)
    change(index)
    x = np.zeros((4, D), "f4")  # more than the index reads
    with pytest.raises(RuntimeError, match=r"expected|need more"):
        index.add_c(4, faiss.swig_ptr(x))
    assert index.ntotal == ROWS
    codes = np.zeros((4, 1000), "u1")
    with pytest.raises(RuntimeError, match=message):
        index.sa_encode_c(4, faiss.swig_ptr(x), faiss.swig_ptr(codes))


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.remove_ids(np.arange(0, ROWS, 3)),
        lambda index: index.merge_from(make("flat")),
        lambda index: make("flat").merge_from(index),
        lambda index: index.add_sa_codes_c(2, faiss.swig_ptr(np.zeros(20, np.uint8)), None),
    ],
)
def test_a_code_size_that_does_not_fit_is_refused_by_changes(change, size):
    index = make("flat")
    index.search(X[:2], 3)
    index.code_size = size
    with pytest.raises(RuntimeError, match=r"code_size"):
        change(index)
    assert index.ntotal == ROWS


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_what_does_not_fit_is_not_adopted(kind):
    index = make(kind, adopted=False)
    index.rq.codebooks.resize(100)
    with pytest.raises(ValueError, match=r"rq.codebooks is 100, expected 384"):
        drqfaiss.adopt(index)


def coarse_without_reconstruct(kind):
    inner = faiss.IndexFlatL2(D)
    coarse = faiss.IndexIDMap(inner) if kind == "idmap" else faiss.IndexIVFFlat(inner, D, 2)
    if kind == "idmap":
        coarse.add_with_ids(X[:LISTS], np.arange(LISTS))
    else:
        coarse.train(X)
        coarse.add(X[:LISTS])
    return coarse


@pytest.mark.parametrize(("kind", "change", "message"), CASES, ids=NAMES)
def test_misfits_are_refused_by_decoding(kind, change, message):
    index = make(kind)
    if kind == "ivf":
        index.make_direct_map()
    change(index)
    x = np.empty((4, 1000), "f4")
    with pytest.raises(RuntimeError, match=message):
        index.reconstruct_c(3, faiss.swig_ptr(x))
    with pytest.raises(RuntimeError, match=message):
        index.reconstruct_n_c(0, 4, faiss.swig_ptr(x))


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [(kind, *case) for kind in ("flat", "ivf") for case in QUANTIZER_MISFITS.values()],
)
def test_codes_of_misfits_are_not_decoded(kind, change, message):
    index = make(kind)
    change(index)
    with pytest.raises(RuntimeError, match=message):
        index.sa_decode(np.zeros((1, index.sa_code_size()), "u1"))


@pytest.mark.parametrize(("number", "row"), [(0, 10**9), (0, -1), (-1, 0), (LISTS, 0)])
def test_rows_that_lists_do_not_have_are_refused(number, row):
    index, x = make("ivf"), np.empty(D, "f4")
    with pytest.raises(RuntimeError, match=f"row {row} of list {number}, which has"):
        index.reconstruct_from_offset(number, row, faiss.swig_ptr(x))


@pytest.mark.parametrize("kind", ["idmap", "ivf"])
@pytest.mark.parametrize("call", ["add", "sa_encode", "search"])
def test_centroids_that_cannot_be_had_are_an_error(kind, call):
    index = make("ivf")
    codes = index.sa_encode(X)
    give_coarse(index, coarse_without_reconstruct(kind))
    with pytest.raises(RuntimeError, match=r"reconstruct|direct map"):
        index.sa_decode(codes)
    with pytest.raises(RuntimeError, match=r"reconstruct|direct map"):
        index.search(X[:3], 2) if call == "search" else getattr(index, call)(X)
    assert index.ntotal == ROWS


def test_keys_of_lists_that_are_not_there_are_refused():
    index = make("ivf")
    coarse = faiss.IndexFlatL2(D)
    coarse.add(RNG.normal(size=(50, D)).astype("f4"))  # more centroids than lists
    give_coarse(index, coarse)
    with pytest.raises(RuntimeError, match=r"list number \d+, expected 0 to 7"):
        index.add(RNG.normal(size=(500, D)))
    assert index.ntotal == ROWS
    codes = np.full((1, 3), 200, "u1")
    with pytest.raises(RuntimeError, match="list number 200, expected 0 to 7"):
        index.add_sa_codes_c(1, faiss.swig_ptr(codes), None)
    assert index.ntotal == ROWS
    outer = faiss.IndexPreTransform(index)
    with pytest.raises(RuntimeError, match="list number 200, expected 0 to 7"):
        outer.sa_decode(codes)


CHANGES = {
    "add": lambda index, other: index.add(X[:3]),
    "add_with_ids": lambda index, other: index.add_with_ids(X[:3], np.arange(3) + 1000),
    "add_sa_codes": lambda index, other: index.add_sa_codes(index.sa_encode(X[:3])),
    "remove_ids": lambda index, other: index.remove_ids(np.arange(3)),
    "reset": lambda index, other: index.reset(),
    "merge_from": lambda index, other: index.merge_from(other, 0),
    "merge_to": lambda index, other: other.merge_from(index, 0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("flags", [faiss.IO_FLAG_MMAP_IFC, faiss.IO_FLAG_MMAP])
def test_lists_that_are_mapped_or_can_only_be_read_are_not_changed(tmp_path, flags, change):
    path = str(tmp_path / "index.faiss")
    faiss.write_index(make("ivf"), path)
    index = drqfaiss.adopt(faiss.read_index(path, flags))
    found = index.search(X[:5], 4)
    with pytest.raises(RuntimeError, match=r"in a mapped file|only be read"):
        change(index, make("ivf"))
    assert index.ntotal == ROWS
    assert all(map(np.array_equal, index.search(X[:5], 4), found))


def test_stacked_lists_are_not_changed():
    parts = [make("ivf"), make("ivf")]
    lists = faiss.InvertedListsPtrVector()
    for part in parts:
        lists.push_back(part.invlists)
    stacked = faiss.HStackInvertedLists(lists.size(), lists.data())
    index = make("ivf")
    index.own_invlists = False
    index.invlists = stacked
    for change in (lambda: index.add(X[:3]), index.reset, lambda: index.remove_ids(np.arange(3))):
        with pytest.raises(RuntimeError, match="only be read"):
            change()
