"""Which numbers of levels, lists and candidates are worth trying, for searches among settings."""

from __future__ import annotations

FACTORS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)


def spread(most: int) -> list[int]:
    """Return 1, 2, 3, 4, 6, 8, 12, … up to ``most``, itself included: steps of about 1.4 times."""
    powers = [2**i for i in range(most.bit_length())]
    steps = {*powers, *(3 * power // 2 for power in powers if power > 1), most}
    return sorted(step for step in steps if step <= most)


def level_choices(levels: int) -> list[int]:
    """Return numbers of levels to scan, of a code of so many: each of a short one, a spread of a long one."""
    return [*range(1, levels + 1)] if levels <= 8 else spread(levels)


def factor_choices(k: int, vectors: int) -> list[int]:
    """Return factors of k whose candidates are fewer than the vectors."""
    return [factor for factor in FACTORS if factor == 1 or k * factor < vectors]
