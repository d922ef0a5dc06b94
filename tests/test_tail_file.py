"""Side files: what is written is read, and what was damaged is refused by name."""

import os
import struct

import numpy as np
import pytest

from drqfaiss._tail_file import DIGEST, PAGE, TailHeader, check_tail, open_tail, sampled, write_tail

D, NBITS, N = 5, (3, 8, 4), 300
CODEBOOKS = np.random.default_rng(0).normal(size=(D * sum(1 << bits for bits in NBITS),)).astype(np.float32)
ROWS = np.random.default_rng(1).integers(0, 256, (N, 2), np.uint8)
INDEX = bytes(range(DIGEST))


def header(n=N):
    return TailHeader(D, 2, NBITS, n, INDEX)


@pytest.fixture
def path(tmp_path):
    write_tail(tmp_path / "x.tail", header(), CODEBOOKS, [ROWS[:1], ROWS[1:250], ROWS[250:]])
    return tmp_path / "x.tail"


def test_what_is_written_is_read(path):
    found, tail = open_tail(path)
    assert (found.d, found.hot, found.nbits, found.n, found.index) == (D, 2, NBITS, N, INDEX)
    assert (tail.name, tuple(tail.nbits), len(tail), tail.stored, tail.row_bytes) == (
        str(path),
        NBITS,
        N,
        N,
        2,
    )
    np.testing.assert_array_equal(tail.rows(0, N), ROWS)
    np.testing.assert_array_equal(tail.codebooks(), CODEBOOKS)
    check_tail(path)


def test_parts_begin_at_pages(path):
    found, _ = open_tail(path)
    assert found.codebooks_at % PAGE == found.rows_at % PAGE == 0
    assert path.stat().st_size == found.file_bytes == found.rows_at + N * 2


def test_no_rows(tmp_path):
    write_tail(tmp_path / "x", header(0), CODEBOOKS, [])
    found, tail = open_tail(tmp_path / "x")
    assert (found.n, len(tail), tail.rows(0, 0).shape) == (0, 0, (0, 2))
    check_tail(tmp_path / "x")


def test_rows_that_are_compared_at_once():
    assert sampled(0).tolist() == []
    assert sampled(3).tolist() == [0, 1, 2]
    assert sampled(10**12)[[0, -1]].tolist() == [0, 10**12 - 1]


def test_appended_rows_are_in_memory(path):
    before = path.read_bytes()
    _, tail = open_tail(path)
    tail.append(ROWS[:7])
    assert (len(tail), tail.stored) == (N + 7, N)
    np.testing.assert_array_equal(tail.rows(N - 1, N + 7), np.concatenate([ROWS[-1:], ROWS[:7]]))
    assert path.read_bytes() == before


def test_vectors_are_completed(path):
    _, tail = open_tail(path)
    x = np.zeros((2, D), np.float32)
    tail.add_to(np.array([4, 299]), x)
    starts = np.cumsum([0, *(1 << bits for bits in NBITS)])
    words = CODEBOOKS.reshape(-1, D)
    for found, row in zip(x, ROWS[[4, 299]].astype(int) @ [1, 256], strict=True):
        codes = row & 7, row >> 3 & 255, row >> 11 & 15
        np.testing.assert_array_equal(
            found, sum(words[start + code] for start, code in zip(starts[:-1], codes, strict=True))
        )


@pytest.mark.parametrize(
    "call",
    [
        lambda tail: tail.rows(0, N + 1),
        lambda tail: tail.rows(2, 1),
        lambda tail: tail.add_to(np.array([N]), np.zeros((1, D), np.float32)),
        lambda tail: tail.add_to(np.array([-1]), np.zeros((1, D), np.float32)),
    ],
)
def test_rows_beyond_the_end_are_refused(path, call):
    _, tail = open_tail(path)
    with pytest.raises(IndexError, match=r"rows: got .*, expected within 0 to 300"):
        call(tail)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ((0, b"X"), "begins with"),
        ((8, struct.pack("<I", 2)), "got version 2 of the format, expected 1"),
        ((12, struct.pack("<I", 6)), "expected"),
        ((20, struct.pack("<I", 0)), "got 0 levels"),
        ((20, struct.pack("<I", 2**31)), "got 2147483648 levels"),
        ((24, struct.pack("<Q", 2**60)), "bytes, expected 2305843009213"),
        ((24, struct.pack("<Q", N - 1)), "bytes, expected"),
        ((32, struct.pack("<Q", 3)), "got rows of 3 bytes, expected 2"),
        ((40, b"\xff"), "digest of the header"),
        ((72, b"\xff"), "digest of the header"),
        ((PAGE + 1, b"\xff\xff"), "digest of the header"),
        ((-1, b"\0"), "digest of some rows"),
    ],
)
def test_damage_is_noticed_at_once(path, patch, message):
    content = bytearray(path.read_bytes())
    where = patch[0] % len(content)
    content[where : where + len(patch[1])] = patch[1]
    assert content != path.read_bytes()
    path.write_bytes(content)
    for read in (open_tail, check_tail):
        if "some rows" in message and read is check_tail:
            message = "digest of the rows"
        with pytest.raises(ValueError, match=message) as error:
            read(path)
        assert str(path) in str(error.value)


def test_damage_of_any_row_is_noticed_on_request(path):
    content = bytearray(path.read_bytes())
    content[-2 * N + 2 * 7] ^= 1  # Row 7, which is none of those compared at once.
    assert 7 not in sampled(N)
    path.write_bytes(content)
    open_tail(path)
    with pytest.raises(ValueError, match="digest of the rows"):
        check_tail(path)


@pytest.mark.parametrize("size", [0, 7, 119, 121, PAGE, -1])
def test_short_files_are_refused(path, size):
    os.truncate(path, size % path.stat().st_size)
    with pytest.raises(ValueError, match=r"x\.tail: no side file of codes, or damaged"):
        open_tail(path)
