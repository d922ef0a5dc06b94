"""Values with commas in between, as options of benchmarks take them."""

from __future__ import annotations


def names(text: str) -> list[str]:
    """Read words."""
    return text.split(",")


def numbers(text: str) -> list[int]:
    """Read integers."""
    return [int(number) for number in text.split(",")]


def ascending(text: str) -> list[int]:
    """Read integers, the smallest first."""
    return sorted(numbers(text))
