"""How codebooks are factored into bases, scales and a shift."""

import numpy as np
import pytest

from drqfaiss import _core


def codebooks_of(base, scales, mean=0):
    codebooks = np.asarray(scales, np.float32)[:, None, None] * base
    codebooks[0] += mean
    return np.ascontiguousarray(codebooks, np.float32)


@pytest.fixture
def base():
    return np.random.default_rng(0).standard_normal((256, 12)).astype(np.float32)


@pytest.mark.parametrize("scales", [[1], [1, 0.5], [1, 0.8, 0.9, 0.3, 0.01], 0.8 ** np.arange(24)])
@pytest.mark.parametrize("mean", [0, 3, 200])
def test_recurrent_codebooks_are_one_group(base, scales, mean):
    group, scale, shift = _core.factor(codebooks_of(base, scales, mean))
    assert group == [0] * len(scales)
    np.testing.assert_allclose(scale, scales, rtol=1e-4)
    if len(scales) > 1:  # the mean that training folded into level 0
        np.testing.assert_allclose(shift, np.full(12, mean), atol=1e-3)


def test_own_first_codebook_gives_two_groups(base):
    codebooks = codebooks_of(base, [1, 0.7, 0.5, 0.4])
    codebooks[0] = np.random.default_rng(1).standard_normal((256, 12))
    group, scale, _ = _core.factor(codebooks)
    assert group == [0, 1, 1, 1]
    np.testing.assert_allclose(scale, [1, 1, 5 / 7, 4 / 7], rtol=1e-5)


def test_independent_codebooks_have_a_group_each():
    codebooks = np.random.default_rng(2).standard_normal((5, 16, 4)).astype(np.float32)
    group, scale, shift = _core.factor(codebooks)
    assert group == [0, 1, 2, 3, 4]
    assert scale == [1] * 5
    np.testing.assert_allclose(shift, codebooks[0].mean(0), atol=1e-6)


def test_negative_scale_is_a_group_of_its_own(base):
    group, scale, _ = _core.factor(codebooks_of(base, [1, 0.6, -0.5]))
    assert group == [0, 0, 1]
    assert scale[2] == 1


def test_nearly_equal_codebooks_are_not_taken_for_multiples(base):
    codebooks = codebooks_of(base, [1, 0.5])
    codebooks[1, 17, 3] += 1e-4
    assert _core.factor(codebooks)[0] == [0, 1]


def test_every_dimension_must_be_a_multiple():
    """Dimensions in other units: one that is tiny beside the rest may still decide for a large query."""
    rng = np.random.default_rng(5)
    codebooks = codebooks_of(rng.standard_normal((16, 2)), [1, 0.5, 0.25])
    codebooks[..., 1] = 1e-7 * rng.standard_normal((3, 16))
    assert _core.factor(codebooks)[0] == [0, 1, 2]


def test_constant_level_is_not_a_multiple(base):
    """A constant would fit any codebook with a tiny scale and a huge shift."""
    codebooks = codebooks_of(base, [1, 0.5, 1e-12]) + np.float32(0.01)
    group, _, shift = _core.factor(codebooks)
    assert group[2] not in group[:2]
    assert np.abs(shift).max() < 10


@pytest.mark.parametrize("shape", [(0, 16, 4), (2, 16, 0), (2, 1, 4), (2, 3, 4), (2, 1 << 17, 1)])
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match=r"codebooks: .*expected"):
        _core.factor(np.zeros(shape, np.float32))
