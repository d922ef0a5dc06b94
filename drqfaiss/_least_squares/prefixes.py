"""How much the error after each number of levels counts, in training and when vectors are encoded.

The loss of a vector is Σ_L α_L ‖x − x̂_L‖², α_L the weight of the prefix of L levels. With the tail weights
w_m = Σ_{L > m} α_L it is ‖x‖² − Σ_m w_m δ_m, where δ_m is how much level m reduces the squared error: beam
search minimises it by weighing the gain of every level. Without weights of the user's, codes are chosen for
the full length only, as FAISS chooses them, and the default weights only shape the codebooks.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from drqfaiss import _check

DEFAULT_POWER = 4


def default_prefix_weights(levels: int) -> dict[int, float]:
    """Return α_L = (L / levels)⁴: short prefixes stay useful, the whole code hardly loses."""
    return {L: (L / levels) ** DEFAULT_POWER for L in range(1, levels + 1)}


def require_weights(name: str, value: Mapping[int, float]) -> Mapping[int, float]:
    """Return weights by length as they are; raise TypeError for anything else."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: got {_check.shown(value)}, expected a dict from levels to weights")
    return value


def check_prefix_weights(levels: int, prefix_weights: Mapping[int, float]) -> dict[int, float]:
    """Return the weight of each length; raise TypeError or ValueError for bad ones."""
    require_weights("prefix_weights", prefix_weights)
    checked = {
        _check.integer("prefix_weights", length, 1, levels): _check.number("prefix_weights", weight)
        for length, weight in prefix_weights.items()
    }
    for length, weight in checked.items():
        if not 0 <= weight < np.inf:
            raise ValueError(
                f"prefix_weights: got {weight} for length {length}, expected a finite weight of at least 0"
            )
    if not checked.get(levels, 0) > 0:
        raise ValueError(f"prefix_weights: got no weight for all {levels} levels, expected one above 0")
    return checked


def weights_of_part(
    prefix_weights: Mapping[int, float] | None, begin: int, levels: int
) -> dict[int, float] | None:
    """Return the weights of the prefixes of levels [begin, begin + levels), which are trained for themselves.

    Of prefixes that end beyond these, all of them are part.
    """
    if prefix_weights is None:
        return None
    own: dict[int, float] = {}
    for length, weight in prefix_weights.items():
        if length > begin:
            within = min(length - begin, levels)
            own[within] = own.get(within, 0.0) + weight
    return own


def tail_weights(levels: int, prefix_weights: Mapping[int, float] | None) -> np.ndarray:
    """Return w_m = Σ_{L > m} α_L, (levels,), with w_0 = 1; raise as `check_prefix_weights`."""
    if prefix_weights is None:
        prefix_weights = default_prefix_weights(levels)
    alpha = np.zeros(levels)
    for length, weight in check_prefix_weights(levels, prefix_weights).items():
        alpha[length - 1] = weight
    return np.cumsum(alpha[::-1])[::-1] / alpha.sum()


def gain_weights(levels: int, prefix_weights: Mapping[int, float] | None) -> list[float]:
    """Return what each level counts in beam search: tail weights, or nothing, all 1, for None."""
    return [] if prefix_weights is None else tail_weights(levels, prefix_weights).tolist()
