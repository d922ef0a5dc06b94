"""Training of codes whose levels differ in bits."""

import numpy as np
import pytest

from drqfaiss import Quantizer
from drqfaiss._least_squares import widths
from drqfaiss._least_squares.options import TrainingOptions, level_bits

D = 12
QUICK = {"iterations": 4, "progress": False}
BITS = (3, 3, 3, 5, 5)


def vectors(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((D, D)))[0]
    return (rng.standard_normal((n, D)) * np.linspace(2, 0.3, D) @ axes + 5).astype(np.float32)


def errors(quantizer, x):
    """Mean squared errors after 1, 2, … levels."""
    codes = quantizer.encode(x)
    decoded = (quantizer.decode(codes, levels) for levels in range(1, quantizer.levels + 1))
    return [float(np.square(x - own).sum(1).mean()) for own in decoded]


@pytest.mark.parametrize("layout", ["auto", "shared", "blocks"])
def test_every_level_has_its_bits_and_lowers_the_error(layout):
    x = vectors()
    quantizer = Quantizer.train(x[:2000], len(BITS), BITS, layout=layout, **QUICK)
    assert quantizer.level_bits == BITS
    left = errors(quantizer, x[2000:])
    assert (np.diff([x[2000:].var(0).sum(), *left]) < 0).all()


def test_narrow_levels_are_those_that_would_be_trained_alone():
    x = vectors()
    mixed = Quantizer.train(x, len(BITS), BITS, **QUICK)
    alone = Quantizer.train(x, 3, 3, **QUICK)
    np.testing.assert_allclose(errors(mixed, x)[2], errors(alone, x)[2], rtol=0.1)


def test_wide_levels_after_narrow_ones_are_worth_what_they_are_alone():
    """Twelve levels of 3 bits say what nine of 4 do; a code of both may not be much worse than either."""
    x = vectors()
    mixed = Quantizer.train(x[:2000], 8, (3, 3, 3, 3, 4, 4, 4, 4), **QUICK)
    wide = Quantizer.train(x[:2000], 7, 4, **QUICK)
    assert errors(mixed, x[2000:])[-1] < 1.3 * errors(wide, x[2000:])[-1]


def test_prefix_weights_reach_the_levels_they_name():
    x = vectors()
    plain = errors(Quantizer.train(x, len(BITS), BITS, **QUICK), x)
    weights = {1: 1.0, len(BITS): 1e-3}
    first = errors(Quantizer.train(x, len(BITS), BITS, prefix_weights=weights, **QUICK), x)
    assert first[0] < plain[0]


def test_the_same_seed_gives_the_same_bits():
    x = vectors()
    first, second = (widths.train(x, BITS, TrainingOptions(**QUICK)) for _ in range(2))
    for own, other in zip(first.groups, second.groups, strict=True):
        np.testing.assert_array_equal(own.codebook, other.codebook)


def test_one_width_is_the_usual_training():
    x = vectors()
    sequence, number = (Quantizer.train(x, 3, bits, **QUICK) for bits in ((4, 4, 4), 4))
    np.testing.assert_array_equal(sequence.codebooks(), number.codebooks())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "vector"}, 'scale: got "vector" for levels of different bits'),
        ({"layout": "blocks", "global_levels": 1}, "global_levels: got 1 for levels of different bits"),
    ],
)
def test_options_that_say_nothing_about_levels_of_different_bits(options, message):
    with pytest.raises(ValueError, match=message):
        widths.train(vectors(), BITS, TrainingOptions(**options, **QUICK))


def test_too_few_vectors():
    with pytest.raises(ValueError, match="x: got 31 training vectors, expected at least the 32 codewords"):
        widths.train(vectors(31), BITS, TrainingOptions(**QUICK))


@pytest.mark.parametrize(
    ("levels", "bits", "error", "message"),
    [
        (3, (4, 4), ValueError, "bits: got 2 numbers, expected one for each of 3 levels"),
        (2, (4, 17), ValueError, r"bits\[1\]: got 17, expected 1 to 16"),
        (2, (4, 4.5), TypeError, r"bits\[1\]: got 4.5"),
        (2, "48", TypeError, r"bits\[0\]: got '4'"),
        (0, 4, ValueError, "levels: got 0"),
    ],
)
def test_bits_that_cannot_be(levels, bits, error, message):
    with pytest.raises(error, match=message):
        level_bits(levels, bits)
