"""What a search may be asked for: settings, their files and the command line all come from one class."""

from __future__ import annotations

from typing import Annotated, NamedTuple


class SearchOptions(NamedTuple):
    """Of the searches of an index; None leaves what the index has. Annotations say what the numbers are."""

    levels: Annotated[int | None, "levels of the codes to compare, 0: all"] = None
    refine_levels: Annotated[int | None, "levels to rank a shortlist by, 0: all"] = None
    refine_factor: Annotated[
        int | None, "how many times as many vectors as neighbours to rank, 0: no second stage"
    ] = None
    nprobe: Annotated[int | None, "inverted lists to look into"] = None
    k_factor: Annotated[
        float | None, "how many times as many candidates as neighbours a refining index ranks"
    ] = None
