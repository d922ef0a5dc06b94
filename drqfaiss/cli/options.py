"""What each command takes: classes of options, a field an option.

Nothing here needs FAISS, so that help is quick. The options of training are those of `TrainingOptions`, the
settings of a search those of `SearchOptions`, each with what it says there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args, get_type_hints

from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number

from drqfaiss._indexes.search_options import SearchOptions
from drqfaiss._least_squares.options import TrainingOptions

if TYPE_CHECKING:
    FileName: TypeAlias = str
    Training: TypeAlias = Any
    Settings: TypeAlias = Any
    SweptSettings: TypeAlias = Any
else:
    FileName = Path  # Shells complete it; `as_typed` makes it the text that messages repeat.

VECTORS = "vectors: .fvecs, .bvecs, .npy, or an HDF5 file and the array in it: x.hdf5:train"
OPTIONS = Group("Options", sort_key=0)
OF_ALL = Group("Of every command", sort_key=9)
OF_TRAINING = Group("Training of DRQ", help="Defaults are those of IndexDRQ.", sort_key=3)
OF_SEARCH = Group("Settings of the search", help="Defaults are those of the index.", sort_key=2)
OF_SWEEP = Group(
    "Settings of the search",
    help="Several values have commas in between; all combinations are measured.",
    sort_key=2,
)
OF_RAY = Group("Many machines", sort_key=2)
OF_TRUTH = Group("Exact neighbours", sort_key=1)
UNITS = {"": 1, "B": 1} | {
    f"{prefix}{unit}": base ** (power + 1)
    for unit, base in (("B", 1000), ("IB", 1024))
    for power, prefix in enumerate("KMGT")
}
FACTORIES = ("DRQ8x8", "PQ8x8", "RQ8x8", "PQ16x4fs")


class UsageError(ValueError):
    """Options that do not go together."""


def as_typed(_: Any, tokens: Sequence[Token]) -> str:
    """Return a word as it stands on the command line."""
    return tokens[0].value


def several(read: Callable[[str], Any]) -> Callable[[Any, Sequence[Token]], list[Any]]:
    """Return what reads values with commas in between."""

    def values(_: Any, tokens: Sequence[Token]) -> list[Any]:
        return [read(part) for token in tokens for part in token.value.split(",")]

    return values


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(f"got {number}, expected at least 1")
    return number


def weights(_: Any, tokens: Sequence[Token]) -> dict[int, float]:
    """Read weights of prefixes: 4=0.2,8=1."""
    pairs = [part.partition("=") for token in tokens for part in token.value.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("expected levels and weights, such as 4=0.2,8=1")
    return {int(levels): float(weight) for levels, _, weight in pairs}


def size(_: Any, tokens: Sequence[Token]) -> float:
    """Read a number of bytes, with or without a unit."""
    parts = re.fullmatch(r"(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)", tokens[0].value.strip())
    if not parts:
        raise ValueError(f"got {tokens[0].value!r}, expected a number of bytes, such as 500MB or 2GiB")
    number, unit = parts.groups()
    if unit.upper() not in UNITS:
        raise ValueError(f"got unit {unit!r}, expected one of {', '.join(filter(None, UNITS))}")
    return float(number) * UNITS[unit.upper()]


def finite(_: Any, seconds: float) -> None:
    """Require a time."""
    if not 0 <= seconds < math.inf:
        raise ValueError("expected a finite number of at least 0")


def file(says: str, *names: str) -> Parameter:
    """Return what a parameter is that names a file."""
    return Parameter(name=names or None, converter=as_typed, help=says)


def number(says: str, *names: str) -> Parameter:
    """Return what a parameter is that is an integer of at least 1."""
    return Parameter(name=names or None, validator=Number(gte=1), help=says)


def flag(says: str, group: Group = OPTIONS) -> Parameter:
    """Return what a parameter is that is given or not."""
    return Parameter(help=says, group=group, show_default=False)


def numbers(says: str, read: Callable[[str], Any], *names: str) -> Parameter:
    """Return what a parameter is that takes several values in one word."""
    return Parameter(name=names or None, converter=several(read), n_tokens=1, help=says)


Metric: TypeAlias = Literal["l2", "ip"]
Normalize: TypeAlias = Annotated[bool, flag("divide vectors by their norm (cosine, 'angular' data)")]


def _type_of_training(option: Field[Any]) -> Any:
    """Return what the command line is to make of an option of training; None leaves the index's default."""
    if option.metadata["choices"]:
        return Literal[option.metadata["choices"]] | None
    return bool if isinstance(option.default, bool) else int | None


def _training_option(option: Field[Any]) -> tuple[str, Any, Any]:
    says, group = option.metadata["says"], OF_TRAINING
    if option.name == "prefix_weights":
        says += ": 4=0.2,8=1"
        annotation = Annotated[str | None, Parameter(help=says, group=group, converter=weights)]
        return option.name, annotation, None
    kind = _type_of_training(option)
    return option.name, Annotated[kind, flag(says, group)], False if kind is bool else None


def _settings(name: str, swept: bool) -> type:
    """Return a class of the settings of a search; swept are several values each."""
    made = []
    for option, annotation in get_type_hints(SearchOptions, include_extras=True).items():
        optional, says = get_args(annotation)
        kind = get_args(optional)[0]
        if swept:
            several_of = Parameter(help=says, group=OF_SWEEP, converter=several(kind), n_tokens=1)
            made.append((option, Annotated[list[kind] | None, several_of], None))  # type: ignore[valid-type]
        else:
            made.append((option, Annotated[optional, Parameter(help=says, group=OF_SEARCH)], None))
    return _options(name, made)


def _options(name: str, made: list[tuple[str, Any, Any]]) -> type:
    """Return a class of options that are known as data."""
    made_here = {"__module__": __name__}
    return Parameter(name="*")(make_dataclass(name, made, namespace=made_here, frozen=True, kw_only=True))


# The seed is one of the whole command, progress what --quiet says.
SETTINGS = SearchOptions._fields
TRAINING = [option for option in fields(TrainingOptions) if option.name not in ("seed", "progress")]

if not TYPE_CHECKING:
    Training = _options("Training", [*map(_training_option, TRAINING)])
    Settings = _settings("Settings", swept=False)
    SweptSettings = _settings("SweptSettings", swept=True)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """Options of every command."""

    json: Annotated[bool, flag("print the result as JSON", OF_ALL)] = False
    quiet: Annotated[bool, flag("show no progress", OF_ALL)] = False
    threads: Annotated[
        int | None,
        Parameter(help="threads to use (default: all cores)", group=OF_ALL, validator=Number(gte=1)),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Truth:
    """Exact neighbours."""

    base: Annotated[
        FileName | None,
        Parameter(
            help="the vectors in the index, in its order; they must fit into memory",
            group=OF_TRUTH,
            converter=as_typed,
        ),
    ] = None
    groundtruth: Annotated[
        FileName | None,
        Parameter(help="their ids: .ivecs, .npy or x.hdf5:neighbors", group=OF_TRUTH, converter=as_typed),
    ] = None

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return self.base is not None or self.groundtruth is not None

    def require_one(self, least: int = 1) -> None:
        """Require that a command line names one source of neighbours, or at least not two."""
        given = [name for name in ("--base", "--groundtruth") if getattr(self, name[2:]) is not None]
        if not least <= len(given) <= 1:
            raise UsageError(f"got {' and '.join(given) or 'neither'}, expected --base or --groundtruth")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is measured, and how."""

    settings: SweptSettings = field(default_factory=SweptSettings)
    k: Annotated[
        list[int],
        numbers("neighbours of a search, of which time and recall are told", positive, "-k"),
    ] = field(default_factory=lambda: [10])
    runs: Annotated[int, number("timed runs, of which the median counts")] = 5
    seconds: Annotated[float, Parameter(help="length of a timed run", validator=finite)] = 0.2


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Options of `drqfaiss train`."""

    output: Annotated[FileName, file("index file to write", "--output", "-o")]
    factory: Annotated[str, Parameter(help="index type, such as IVF1024,DRQ8x8")] = "DRQ8x8"
    metric: Annotated[Metric, Parameter(help="l2 or inner product")] = "l2"
    learn: Annotated[int, number("random rows to learn from")] = 262_144
    normalize: Normalize = False
    seed: Annotated[int, Parameter(help="of the random rows and of DRQ's training")] = 0
    training: Training = field(default_factory=Training)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Build(Common):
    """Options of `drqfaiss build`."""

    output: Annotated[FileName, file("index file to write", "--output", "-o")]
    chunk: Annotated[int, number("rows added at a time")] = 65_536
    checkpoint: Annotated[
        float, Parameter(help="seconds between two saved states, at least", validator=finite)
    ] = 60.0
    hot_levels: Annotated[
        int | None,
        number(
            "write two files: an index of the first levels, which searches keep in memory, and OUTPUT.tail "
            "with the others, which they rank a shortlist by"
        ),
    ] = None
    restart: Annotated[bool, flag("discard what an interrupted build left")] = False
    normalize: Normalize = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Search(Common):
    """Options of `drqfaiss search`."""

    k: Annotated[int, number("neighbours per query", "-k")] = 10
    output: Annotated[FileName | None, file("file to write: .npz, .npy or .ivecs", "--output", "-o")] = None
    normalize: Normalize = False
    settings: Settings = field(default_factory=Settings)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Eval(Common):
    """Options of `drqfaiss eval`."""

    truth: Truth = Truth()
    normalize: Normalize = False
    sweep: Sweep = Sweep()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Tune(Common):
    """Options of `drqfaiss tune`."""

    k: Annotated[int, number("neighbours of a search", "-k")] = 10
    recall: Annotated[float, Parameter(help="share to find")] = 0.95
    max_us: Annotated[float | None, Parameter(help="most microseconds that a query may take")] = None
    single: Annotated[bool, flag("time searches for one query each, instead of all at once")] = False
    save: Annotated[bool, flag("keep the setting beside the index, in INDEX.drq.json")] = False
    plot: Annotated[FileName | None, file("draw recall over time: .svg, .png or .pdf")] = None
    truth: Truth = Truth()
    normalize: Normalize = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Plan(Common):
    """Options of `drqfaiss plan`."""

    n: Annotated[int | None, number("vectors of the index (default: those of the file)", "-n")] = None
    memory: Annotated[
        float | None, Parameter(help="most bytes in memory: 500MB, 2GB, 1.5GiB", converter=size)
    ] = None
    recall: Annotated[float | None, Parameter(help="share of the k nearest to find")] = None
    k: Annotated[int, number("neighbours of a search", "-k")] = 10
    metric: Annotated[Metric, Parameter(help="l2 or inner product")] = "l2"
    queries: Annotated[FileName | None, file("vectors to search for (default: some of the sample)")] = None
    sample: Annotated[int, number("random rows to try with")] = 40_000
    quality: Annotated[Literal["fast", "default", "best"], Parameter(help="time against accuracy")] = (
        "default"
    )
    seed: Annotated[int, Parameter(help="of the random rows")] = 0
    normalize: Normalize = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Bench(Common):
    """Options of `drqfaiss bench`."""

    factory: Annotated[
        list[str], Parameter(help="index types, one or more", consume_multiple=True, negative=())
    ] = field(default_factory=lambda: [*FACTORIES])
    metric: Annotated[
        Metric | None, Parameter(help="l2 or inner product (default: what the file says, else l2)")
    ] = None
    max_base: Annotated[int | None, number("use only so many base vectors")] = None
    max_learn: Annotated[int | None, number("train on only so many vectors")] = None
    max_queries: Annotated[int | None, number("search only so many queries")] = None
    seed: Annotated[int, Parameter(help="of random draws and of DRQ's training")] = 0
    sweep: Sweep = Sweep()
    training: Training = field(default_factory=Training)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Serve(Common):
    """Options of `drqfaiss serve`."""

    host: Annotated[str, Parameter(help="address to listen at")] = "127.0.0.1"
    port: Annotated[int, Parameter(help="port to listen at, 0: any", validator=Number(gte=0, lte=65535))] = (
        8000
    )
    token_file: Annotated[
        FileName | None, file("file with the token that clients have to show (default: $DRQFAISS_TOKEN)")
    ] = None
    max_body: Annotated[float, Parameter(help="most bytes of a request", converter=size)] = 16 * 2**20
    max_k: Annotated[int, number("most neighbours of a query")] = 1_000
    max_results: Annotated[int, number("most queries times neighbours of a request")] = 1_000_000
    max_levels: Annotated[int | None, number("most levels of a search (default: all)")] = None
    max_refine_factor: Annotated[int, number("most vectors to rank, for each neighbour")] = 1_000
    max_nprobe: Annotated[int | None, number("most inverted lists to look into (default: all)")] = None
    max_seconds: Annotated[float, Parameter(help="longest time for an answer", validator=finite)] = 10.0
    max_waiting: Annotated[int, number("most requests at a time")] = 256
    partial: Annotated[bool, flag("answer without shards that are missing, and name them")] = False
    ray: Annotated[
        str | None,
        Parameter(help="search in the actors of a Ray cluster: its address, or local", group=OF_RAY),
    ] = None
    replicas: Annotated[
        int, Parameter(help="actors of each shard", group=OF_RAY, validator=Number(gte=1))
    ] = 1


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Info(Common):
    """Options of `drqfaiss info`."""

    check: Annotated[bool, flag("read all of the index's side file and compare its digests")] = False
