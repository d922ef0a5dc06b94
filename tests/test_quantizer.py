"""The Quantizer: what its arrays mean, files, and the way from and to an index."""

import dataclasses

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss._indexes.nested import residual_quantizers
from drqfaiss.quantizer import FILE_FORMAT, Group, Quantizer


def make(seed=0, K=16, d=6, levels=4, vector=False, rotation=False):
    rng = np.random.default_rng(seed)
    scales = 0.6 ** np.arange(levels, dtype=np.float32)
    if vector:
        scales = scales[:, None] * rng.uniform(0.5, 1.5, (levels, d))
    return Quantizer(
        rng.standard_normal((K, d)).astype(np.float32),
        scales.astype(np.float32),
        rng.standard_normal(d).astype(np.float32),
        np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32) if rotation else None,
    )


def residual_index(codebooks):
    M, K, d = codebooks.shape
    index = faiss.IndexResidualQuantizer(d, M, K.bit_length() - 1)
    faiss.copy_array_to_vector(np.ascontiguousarray(codebooks).ravel(), index.rq.codebooks)
    index.rq.is_trained = index.is_trained = True
    return index


@given(seed=st.integers(0, 1000), vector=st.booleans(), rotation=st.booleans(), levels=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_decode_follows_the_formula(seed, vector, rotation, levels):
    q = make(seed, vector=vector, rotation=rotation)
    codes = np.random.default_rng(seed).integers(0, 16, (20, 4))
    total = sum(q.scales[m] * q.codebook[codes[:, m]] for m in range(levels))
    expected = q.mean + (total @ q.rotation if rotation else total)
    np.testing.assert_allclose(q.decode(codes, levels), expected, atol=1e-5)
    np.testing.assert_array_equal(q.decode(codes[:, :levels], levels), q.decode(codes, levels))


@pytest.mark.parametrize("vector", [False, True])
def test_encode_finds_the_codes_of_reconstructions(vector):
    q = make(K=8, d=24, vector=vector, rotation=vector)
    codes = np.random.default_rng(1).integers(0, 8, (200, 4)).astype(np.uint8)
    x = q.decode(codes)
    found = q.encode(x, beam=64)
    assert found.dtype == np.uint8
    assert (found == codes).all(1).mean() > 0.95


def test_more_levels_and_a_wider_beam_lower_the_error():
    q = make(K=64, d=16, levels=6)
    x = np.random.default_rng(2).standard_normal((500, 16)).astype(np.float32)

    def error(beam, levels):
        return ((x - q.decode(q.encode(x, beam), levels)) ** 2).mean()

    assert error(16, 6) < error(1, 6)
    assert error(16, 6) < error(16, 4) < error(16, 2)


def test_indexes_encode_as_the_quantizer_does():
    q = make(K=16, d=16, levels=6)
    x = np.random.default_rng(3).standard_normal((500, 16)).astype(np.float32)
    index = q.to_index()
    packed = (q.encode(x)[:, ::2] | q.encode(x)[:, 1::2] << 4).astype(np.uint8)
    np.testing.assert_array_equal(index.sa_encode(x), packed)
    assert index.rq.max_beam_size == 8


def test_codes_of_more_than_8_bits_are_uint16():
    q = make(K=512, d=4, levels=2)
    assert q.encode(np.zeros((3, 4), np.float32)).dtype == np.uint16


def test_properties():
    q = make(K=32, d=5, levels=3)
    assert (q.codewords, q.d, q.levels, q.bits) == (32, 5, 3, 5)
    assert q.codebooks().shape == (3, 32, 5)


def test_mean_and_rotation_are_optional():
    q = Quantizer(np.eye(4, dtype=np.float32), np.ones(2, np.float32))
    np.testing.assert_array_equal(q.mean, np.zeros(4))
    assert q.rotation is None
    np.testing.assert_array_equal(q.codebooks(), np.stack([np.eye(4)] * 2))


def test_anything_that_is_an_array_is_accepted():
    q = Quantizer([[0, 1], [2, 3]], [1.0, 0.5], mean=[1, 1])
    codes = q.encode([[1, 2], [3, 4]])
    np.testing.assert_array_equal(q.decode(codes.tolist()), q.decode(codes))
    options = {"iterations": 1, "own_first": True, "progress": False}
    trained = Quantizer.train([[0, 1], [2, 3], [4, 9]], levels=2, bits=1, **options)
    assert trained.codebooks().shape == (2, 2, 2)
    replaced = q.replace(mean=[0, 0])
    np.testing.assert_array_equal(replaced.mean, np.zeros(2))


def own_first():
    """A quantizer whose level 0 has its own codebook."""
    q = make()
    codebook = np.random.default_rng(5).standard_normal(q.codebook.shape).astype(np.float32)
    return Quantizer(q.codebook, q.scales, q.mean, q.rotation, first_codebook=codebook)


def test_level_0_may_have_its_own_codebook():
    q, own = make(), own_first()
    np.testing.assert_allclose(own.codebooks()[0], q.scales[0] * own.first_codebook + q.mean, rtol=1e-6)
    np.testing.assert_array_equal(own.codebooks()[1:], q.codebooks()[1:])


def test_arrays_are_copies_and_read_only():
    codebook = np.ones((2, 3), np.float32)
    q = Quantizer(codebook, np.ones(1, np.float32))
    codebook[:] = 7
    assert (q.codebook == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        q.codebook[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        q.scales = codebook


ONES = np.ones((4, 3), np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ONES[:3], [1]), ValueError, "codebook: got 3 codewords"),
        ((ONES[:1], [1]), ValueError, "codebook: got 1 codewords"),
        ((ONES[0], [1]), ValueError, "codebook: .*2 dimensions"),
        ((ONES * np.nan, [1]), ValueError, "codebook: .*NaN"),
        ((ONES.astype(complex), [1]), TypeError, "codebook: .*complex"),
        ((ONES, []), ValueError, "scales: .*at least one"),
        ((ONES, [1, 0]), ValueError, "scales: .*positive"),
        ((ONES, [1, -0.5]), ValueError, "scales: .*positive"),
        ((ONES, np.ones((2, 4))), ValueError, r"scales: got shape \(2, 4\), expected \(2, 3\)"),
        ((ONES, [1], np.ones(4)), ValueError, r"mean: got shape \(4,\), expected \(3,\)"),
        ((ONES, [1], np.full(3, np.inf)), ValueError, "mean: .*infinite"),
        ((ONES, [1], None, np.eye(4)), ValueError, r"rotation: got shape \(4, 4\)"),
        ((ONES, [1], None, 2 * np.eye(3)), ValueError, "rotation: .*orthogonal"),
        (
            (ONES, [1], None, None, ONES[:2]),
            ValueError,
            r"first_codebook: got shape \(2, 3\), expected \(4, 3\)",
        ),
    ],
)
def test_constructor_rejects(arguments, error, message):
    with pytest.raises(error, match=message):
        Quantizer(*arguments)


@pytest.mark.parametrize(
    ("x", "beam", "error", "message"),
    [
        (np.zeros((3, 5)), 4, ValueError, r"x: got shape \(3, 5\), expected \(n, 6\)"),
        (np.zeros(6), 4, ValueError, "x: got shape"),
        (np.full((3, 6), np.nan), 4, ValueError, r"x: .*\(0, 0\)"),
        (np.array([["a"] * 6]), 4, TypeError, "x: "),
        (np.zeros((3, 6)), 0, ValueError, "beam: got 0"),
        (np.zeros((3, 6)), 1.5, TypeError, "beam: got 1.5"),
    ],
)
def test_encode_rejects(x, beam, error, message):
    with pytest.raises(error, match=message):
        make().encode(x, beam)


@pytest.mark.parametrize(
    ("codes", "levels", "error", "message"),
    [
        (np.zeros((2, 4)), None, TypeError, "codes: got dtype float64"),
        (np.full((2, 4), 16), None, ValueError, "codes: got 16 to 16 at level 0, expected 0 to 15"),
        (np.full((2, 4), -1), None, ValueError, "codes: got -1"),
        (np.zeros((2, 3), int), None, ValueError, r"codes: got shape \(2, 3\)"),
        (np.zeros((2, 5), int), None, ValueError, r"codes: got shape \(2, 5\)"),
        (np.zeros(4, int), None, ValueError, r"codes: got shape \(4,\)"),
        (np.zeros((2, 4), int), 0, ValueError, "levels: got 0, expected 1 to 4"),
        (np.zeros((2, 4), int), 5, ValueError, "levels: got 5"),
    ],
)
def test_decode_rejects(codes, levels, error, message):
    with pytest.raises(error, match=message):
        make().decode(codes, levels)


@pytest.mark.parametrize("vector", [False, True])
def test_save_and_load(tmp_path, vector):
    q = make(vector=vector, rotation=vector)
    q.save(tmp_path / "quantizer.bin")  # the name is kept, no .npz is added
    loaded = Quantizer.load(tmp_path / "quantizer.bin")
    for name in ("codebook", "scales", "mean", "rotation", "first_codebook"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(q, name))


def test_a_first_codebook_is_saved_in_a_newer_version(tmp_path):
    q = own_first()
    q.save(tmp_path / "q.npz")
    np.testing.assert_array_equal(Quantizer.load(tmp_path / "q.npz").codebooks(), q.codebooks())
    assert np.load(tmp_path / "q.npz")["version"] == 2
    make().save(tmp_path / "q.npz")
    assert np.load(tmp_path / "q.npz")["version"] == 1


def test_load_rejects_foreign_truncated_and_newer_files(tmp_path):
    path = tmp_path / "q.npz"
    make().save(path)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"q\.npz: not a drqfaiss\.Quantizer file, or truncated"):
            Quantizer.load(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))  # a single array, not an archive
    with pytest.raises(ValueError, match=r"not a drqfaiss\.Quantizer file"):
        Quantizer.load(path)
    np.savez(path, codebook=ONES)
    with pytest.raises(ValueError, match=r"got a file of \['codebook'\]"):
        Quantizer.load(path)
    np.savez(path, format=FILE_FORMAT, version=99)
    with pytest.raises(ValueError, match="version 99, expected at most 3"):
        Quantizer.load(path)
    for version in ({}, {"version": "x"}, {"version": [1, 2]}):
        np.savez(path, format=FILE_FORMAT, codebook=ONES, scales=[1.0], mean=np.zeros(3), **version)
        with pytest.raises(ValueError, match=r"q\.npz: a damaged drqfaiss\.Quantizer file"):
            Quantizer.load(path)
    np.savez(path, format=FILE_FORMAT, version=1, codebook=ONES)
    with pytest.raises(ValueError, match=r"damaged .*scales"):
        Quantizer.load(path)
    np.savez(path, format=FILE_FORMAT, version=1, codebook=ONES, scales=[-1.0], mean=np.zeros(3))
    with pytest.raises(ValueError, match=r"damaged .*positive"):
        Quantizer.load(path)
    with pytest.raises(FileNotFoundError):
        Quantizer.load(tmp_path / "missing.npz")


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    make().save(tmp_path / "q.npz")
    before = (tmp_path / "q.npz").read_bytes()
    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space left"):
        make(seed=1).save(tmp_path / "q.npz")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_from_index_factors_the_codebooks():
    q = make(K=32, d=12, levels=5)
    found = Quantizer.from_index(residual_index(q.codebooks()))
    np.testing.assert_allclose(found.codebooks(), q.codebooks(), atol=1e-5)
    np.testing.assert_allclose(found.scales, q.scales, rtol=1e-5)


def test_from_index_finds_a_first_codebook():
    q = own_first()
    found = Quantizer.from_index(residual_index(q.codebooks()))
    assert found.first_codebook is not None
    np.testing.assert_allclose(found.codebooks(), q.codebooks(), atol=1e-5)
    np.testing.assert_allclose(found.scales[2] / found.scales[1], q.scales[2] / q.scales[1], rtol=1e-5)


def test_encoding_follows_prefix_weights():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6)).astype(np.float32)
    q = make()
    errors = {}
    for name, weights in {"first": {1: 1, 4: 1e-6}, "full": {4: 1}}.items():
        codes = q.encode(x, 16, weights)
        errors[name] = [np.square(x - q.decode(codes, L)).sum() for L in (1, 4)]
    assert errors["first"][0] < errors["full"][0]
    assert errors["first"][1] > errors["full"][1]
    with pytest.raises(ValueError, match="prefix_weights: got 5, expected 1 to 4"):
        q.encode(x, 16, {5: 1})


def test_from_index_of_levels_that_share_nothing():
    own = np.random.default_rng(0).standard_normal((3, 16, 6)).astype(np.float32)
    found = Quantizer.from_index(residual_index(own))
    np.testing.assert_allclose(found.codebooks(), own, atol=1e-6)
    assert found.layout == "3 levels with 3 codebooks in all 6 dimensions"


@pytest.mark.parametrize(
    "description",
    ["DRQ3x4", "IVF4,DRQ3x4", "IDMap2,IVF4,DRQ3x4", "PCA8,DRQ3x4", "DRQ3x4,RFlat", "DRQ2x3_2x4"],
)
def test_every_index_of_ours_is_taken_back(description):
    index = drqfaiss.index_factory(12, description, progress=False, iterations=2)
    index.train(np.random.default_rng(0).standard_normal((500, 12)).astype(np.float32))
    found = Quantizer.from_index(index)
    (residual,) = residual_quantizers(index)
    stored = faiss.vector_to_array(residual.rq.codebooks)
    np.testing.assert_allclose(np.concatenate(found.level_codebooks()).ravel(), stored, atol=1e-4)


def test_from_index_needs_one_quantizer():
    shards = faiss.IndexShards(12)
    parts = [drqfaiss.IndexDRQ(12, 2, 3) for _ in range(2)]
    for part in parts:
        shards.add_shard(part)
    with pytest.raises(ValueError, match="got 2 residual quantizer indexes, expected one"):
        Quantizer.from_index(shards)


def test_from_index_rejects():
    with pytest.raises(ValueError, match="not trained"):
        Quantizer.from_index(faiss.IndexResidualQuantizer(8, 2, 4))
    with pytest.raises(TypeError, match="IndexFlatL2"):
        Quantizer.from_index(faiss.IndexFlatL2(8))
    with pytest.raises(TypeError, match="got 'index'"):
        Quantizer.from_index("index")


@pytest.mark.parametrize("metric", [faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT])
def test_to_index_and_back(metric):
    q = make(K=16, d=8, levels=3)
    index = q.to_index(metric)
    assert index.is_trained
    assert index.metric_type == metric
    assert index.ntotal == 0
    np.testing.assert_allclose(Quantizer.from_index(index).codebooks(), q.codebooks(), atol=1e-5)


def in_blocks(seed=0, d=24, K=64, first=True):
    """Two levels in all dimensions, then five on two blocks of four, in a rotated space."""
    rng = np.random.default_rng(seed)
    wide = [Group(rng.standard_normal((K, d)).astype(np.float32))] * first
    groups = [*wide, *(Group(rng.standard_normal((K, 4)).astype(np.float32), start) for start in (4, 12))]
    level_groups = np.array([0, 0, 1, 2, 1, 1, 2] if first else [0, 1, 0, 0, 1])
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    scales = 0.7 ** np.arange(len(level_groups))
    return Quantizer.from_groups(groups, level_groups, scales, rng.standard_normal(d), rotation)


@pytest.mark.parametrize("first", [False, True])
def test_levels_may_live_on_blocks(first):
    q = in_blocks(first=first)
    codes = np.random.default_rng(3).integers(0, 64, (20, q.levels))
    rotated = np.zeros((20, q.d))
    for m, g in enumerate(q.level_groups):
        group = q.groups[g]
        rotated[:, group.dimensions] += q.scales[m] * group.codebook[codes[:, m]]
    np.testing.assert_allclose(q.decode(codes), q.mean + rotated @ q.rotation, atol=1e-5)


@pytest.mark.parametrize("first", [False, True])
def test_blocks_are_saved_and_loaded(tmp_path, first):
    q = in_blocks(first=first)
    q.save(tmp_path / "q.npz")
    loaded = Quantizer.load(tmp_path / "q.npz")
    np.testing.assert_array_equal(loaded.codebooks(), q.codebooks())
    assert [group.dimensions for group in loaded.groups] == [group.dimensions for group in q.groups]
    assert (tmp_path / "q.npz").stat().st_size < q.codebooks().nbytes / 2


@pytest.mark.parametrize("first", [False, True])
def test_from_index_finds_blocks(first):
    q = in_blocks(first=first)
    found = Quantizer.from_index(q.to_index())
    np.testing.assert_allclose(found.codebooks(), q.codebooks(), atol=1e-5)
    np.testing.assert_array_equal(found.level_groups, q.level_groups)
    assert [group.codebook.shape for group in found.groups] == [group.codebook.shape for group in q.groups]
    assert found.layout == q.layout


def test_layout_in_words():
    assert make().layout == "4 levels that share a codebook"
    assert own_first().layout == "4 levels that share a codebook, the first apart"
    assert in_blocks().layout == "2 levels in all 24 dimensions, 5 on 2 blocks"
    assert repr(in_blocks()) == f"<Quantizer of 24 dimensions, 6 bits a level: {in_blocks().layout}>"
    with pytest.raises(AttributeError, match="this quantizer has 3, see groups"):
        in_blocks().codebook  # noqa: B018


def test_levels_may_differ_in_bits():
    groups = [Group(np.zeros((16, 3), np.float32)), Group(np.ones((4, 2), np.float32), 1)]
    q = Quantizer.from_groups(groups, [0, 1], [1, 1], np.zeros(3))
    assert q.level_bits == (4, 2)
    np.testing.assert_array_equal(q.decode([[7, 3]]), [[0, 1, 1]])
    with pytest.raises(ValueError, match=r"bits: levels of \[2, 4\] bits, see level_bits"):
        q.codebooks()
    with pytest.raises(ValueError, match="codes: got 4 to 4 at level 1, expected 0 to 3"):
        q.decode([[7, 4]])


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"groups": [ONES]}, TypeError, r"groups\[0\]: "),
        (
            {"groups": [Group(ONES[:3])]},
            ValueError,
            r"groups\[0\].codebook: got 3 codewords, expected a power",
        ),
        ({"groups": [Group(np.ones((4, 4)))]}, ValueError, "got 4 dimensions, expected at most 3"),
        ({"groups": [Group(ONES, 1)]}, ValueError, r"groups\[0\].start: got 1, expected 0 to 0"),
        ({"level_groups": [0, 1]}, ValueError, "level_groups: got .*expected every number from 0 to 0"),
        ({"level_groups": [0.0, 0.0]}, TypeError, "level_groups: got .*expected integers"),
        ({"level_groups": [0, 0, 0]}, ValueError, r"scales: got shape \(2,\), expected \(3,\)"),
        ({"scales": [1, 0]}, ValueError, "scales: .*positive"),
        ({"rotation": np.ones((3, 3))}, ValueError, "rotation: .*orthogonal"),
    ],
)
def test_from_groups_rejects(parts, error, message):
    whole = {"groups": [Group(ONES)], "level_groups": [0, 0], "scales": [1, 1], "mean": np.zeros(3)}
    with pytest.raises(error, match=message):
        Quantizer.from_groups(**whole | parts)


def test_load_rejects_groups_that_cannot_be(tmp_path):
    path = tmp_path / "q.npz"
    version, arrays = in_blocks()._stored()
    assert version == 3
    for change, message in (
        ({"codebooks": arrays["codebooks"][:-1]}, r"expected 64 \* 4 for the next group"),
        ({"codebooks": np.append(arrays["codebooks"], 0)}, "1 numbers more than the groups need"),
        ({"bits": arrays["bits"][:2]}, "argument"),
        ({"bits": np.array([6, 6, 40])}, "bits: got 40, expected 1 to 16"),
        ({"starts": np.array([0, 4, 23])}, r"groups\[2\].start: got 23, expected 0 to 20"),
        ({"level_groups": np.array([0, 0, 1, 1, 1, 1, 1])}, "level_groups"),
        ({"widths": np.array([24, 4, -4])}, "widths: got -4"),
    ):
        np.savez(path, format=FILE_FORMAT, version=3, **arrays | change)
        with pytest.raises(ValueError, match=f"a damaged .*{message}"):
            Quantizer.load(path)
