"""What happens to bytes: flipped, cut, moved, numbers in them replaced."""

import io
import zipfile

import numpy as np

NUMBERS = [
    0,
    1,
    2,
    7,
    255,
    256,
    65_535,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    (1 << 63) - 1,
]


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    """Return the bytes after one to four changes."""
    for _ in range(int(rng.integers(1, 5))):
        data = CHANGES[rng.integers(len(CHANGES))](rng, data) if data else b"\0"
    return data


def damaged_archive(rng: np.random.Generator, data: bytes) -> bytes:
    """Return an .npz file, of right checksums, with a changed, lost, doubled or renamed member."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    which, kind = int(rng.integers(len(members))), int(rng.integers(6))
    name, content = members[which]
    if kind < 3:
        members[which] = (name, damaged(rng, content))
    elif kind == 3:
        del members[which]
    elif kind == 4:
        members[which] = (members[rng.integers(len(members))][0], content)
    else:
        members.append(("x" * int(rng.integers(1, 300)), content))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        written = set()
        for name, content in members:
            if name not in written:  # zipfile warns of names that come twice
                archive.writestr(name, content)
            written.add(name)
    return packed.getvalue()


def _place(rng: np.random.Generator, data: bytes) -> int:
    """Return a place, mostly near the start or the end, where headers are."""
    near = int(rng.exponential(60))
    places = (near, len(data) - 1 - near, int(rng.integers(len(data))))
    return max(0, min(places[rng.integers(3)], len(data) - 1))


def _flip(rng: np.random.Generator, data: bytes) -> bytes:
    where = _place(rng, data)
    return data[:where] + bytes([data[where] ^ 1 << int(rng.integers(8))]) + data[where + 1 :]


def _number(rng: np.random.Generator, data: bytes) -> bytes:
    where, size = _place(rng, data), int(rng.choice([1, 2, 4, 8]))
    value = NUMBERS[rng.integers(len(NUMBERS))] if rng.random() < 0.7 else int(rng.integers(1 << 62))
    value = (-value if rng.random() < 0.3 else value) % (1 << 8 * size)
    return data[:where] + value.to_bytes(size, "little") + data[where + size :]


def _cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: _place(rng, data)]


def _remove(rng: np.random.Generator, data: bytes) -> bytes:
    where = _place(rng, data)
    return data[:where] + data[where + int(rng.integers(1, 40)) :]


def _repeat(rng: np.random.Generator, data: bytes) -> bytes:
    where = _place(rng, data)
    return data[: where + int(rng.integers(1, 40))] + data[where:]


def _move(rng: np.random.Generator, data: bytes) -> bytes:
    here, there, size = _place(rng, data), _place(rng, data), int(rng.integers(1, 16))
    return data[:there] + data[here : here + size] + data[there + size :]


def _digits(rng: np.random.Generator, data: bytes) -> bytes:
    """Replace a number that is written out, as headers of .npy and JSON have them."""
    where = next((i for i in range(_place(rng, data), len(data)) if chr(data[i]).isdigit()), 0)
    value = NUMBERS[rng.integers(len(NUMBERS))]
    return data[:where] + str(-value if rng.random() < 0.3 else value).encode() + data[where + 1 :]


def _noise(rng: np.random.Generator, data: bytes) -> bytes:
    where = _place(rng, data)
    return data[:where] + rng.bytes(int(rng.integers(1, 20))) + data[where:]


CHANGES = [_flip, _number, _number, _number, _cut, _remove, _repeat, _move, _digits, _noise]
