"""What requests and answers look like: JSON, or arrays as NumPy writes them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drqfaiss import _check
from drqfaiss._headers import read_array_header
from drqfaiss._indexes.arrays import Floats
from drqfaiss.distributed import Found

JSON, NPY, NPZ = "application/json", "application/x-npy", "application/x-npz"
SETTINGS = ("levels", "refine_levels", "refine_factor", "nprobe")


class MalformedError(ValueError):
    """A request that cannot be understood."""


class Asked(BaseModel):
    """What a search is asked for besides its queries: all of a request with a body of `NPY`."""

    model_config = ConfigDict(extra="forbid", title="Settings")

    k: int = Field(10, ge=1, description="neighbours of a query")
    levels: int | None = Field(None, ge=0, description="levels of the codes to compare, 0: all")
    refine_levels: int | None = Field(None, ge=0, description="levels to rank a shortlist by, 0: all")
    refine_factor: int | None = Field(
        None, ge=1, description="how many times as many vectors as neighbours are ranked"
    )
    nprobe: int | None = Field(None, ge=1, description="inverted lists to look into")

    @property
    def settings(self) -> dict[str, int | None]:
        """The arguments of a search besides its queries and k."""
        return {name: getattr(self, name) for name in SETTINGS}


class Request(Asked):
    """A search as JSON."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        title="Search",
        json_schema_extra={"example": {"queries": [[0.1, 0.2]], "k": 10, "levels": 8}},
    )

    queries: list[list[float]] = Field(description="vectors, all of the index's dimension")
    only: list[int] | None = Field(None, description="ids that may be found")
    without: list[int] | None = Field(None, description="ids that may not be found")


class Answer(BaseModel):
    """What was found, nearest first; a query with fewer vectors has a shorter list."""

    ids: list[list[int]]
    distances: list[list[float]]
    missing: list[str] = Field(description="shards that did not answer")


def read_json(body: bytes) -> tuple[Floats, Asked, dict[str, Any]]:
    """Return queries, settings, and the ids to choose from.

    Raises:
        MalformedError: it is no such request.
    """
    try:
        request = Request.model_validate_json(body)
    except ValidationError as error:
        raise MalformedError(first_error(error)) from None
    try:
        with np.errstate(over="ignore"):  # What is too large becomes infinite, and is refused.
            queries = np.array(request.queries, np.float32)
    except ValueError:
        raise MalformedError("queries: got rows of different lengths, expected vectors") from None
    if queries.ndim != 2:
        raise MalformedError(f"queries: got shape {queries.shape}, expected (n, d)")
    chosen = {name: _ids(name, getattr(request, name)) for name in ("only", "without")}
    return queries, request, chosen


def _ids(name: str, given: list[int] | None) -> Any:
    try:
        return None if given is None else np.array(given, np.int64)
    except OverflowError:
        raise MalformedError(f"{name}: got a number beyond 64 bits, expected ids") from None


def read_npy(body: bytes) -> Floats:
    """Return queries from an array as ``numpy.save`` writes it.

    Raises:
        MalformedError: it is none, or claims more than there is.
    """
    file = io.BytesIO(body)
    try:
        header = read_array_header(file)
    except Exception as error:  # NumPy's reader raises many kinds.
        raise MalformedError(f"body: no .npy array: {str(error).splitlines()[0][:200]}") from None
    if len(header.shape) != 2 or header.nbytes != len(body) - file.tell():
        raise MalformedError(
            f"body: got shape {header.shape} of {header.dtype} in {len(body) - file.tell()} bytes, "
            f"expected (n, d) in {header.nbytes}"
        )
    array = np.ndarray(
        header.shape, header.dtype, body, offset=file.tell(), order="F" if header.fortran_order else "C"
    )
    with np.errstate(over="ignore"):
        return _check.floats("body", array, 2)


def first_error(error: ValidationError) -> str:
    """Return the first thing that is wrong with a request, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])) or "body"
    return f"{where}: {first['msg']}"


def as_json(found: Found) -> bytes:
    """Return what was found as JSON."""
    kept = [row >= 0 for row in found.ids]
    answer = Answer(
        ids=[row[there].tolist() for row, there in zip(found.ids, kept, strict=True)],
        distances=[row[there].tolist() for row, there in zip(found.distances, kept, strict=True)],
        missing=[*found.missing],
    )
    return answer.model_dump_json().encode()


def as_npz(found: Found) -> bytes:
    """Return what was found as arrays ``ids`` and ``distances``, (n, k), −1 where there is nothing."""
    file = io.BytesIO()
    np.savez(file, ids=found.ids, distances=found.distances, missing=np.array([*found.missing], np.str_))
    return file.getvalue()
