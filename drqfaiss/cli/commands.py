"""What can be typed: every command, what it takes, its help and examples.

A command's options are a class in `options`; the module that does the work is loaded when it is called, and
FAISS with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from drqfaiss import __version__
from drqfaiss.cli import options as take

Result = dict[str, Any]
Command = Callable[..., Result]

app = App(
    name="drqfaiss",
    help="Deep Recurrent Quantization for FAISS.",
    version=__version__,
    default_parameter=Parameter(negative=()),
    group_parameters=take.OPTIONS,
)
IndexFile = Annotated[take.FileName, take.file("index file")]
Vectors = Annotated[take.FileName, take.file(take.VECTORS)]


def command(*examples: str, name: str | None = None) -> Callable[[Command], Command]:
    """Register a command with lines to start from; help lists commands in the order of this file."""

    def register(function: Command) -> Command:
        named = name or function.__name__
        shown = "\n".join(("Examples:", "", "```", *examples, "```"))
        app.command(function, name=named, help_epilogue=shown)
        app[named].sort_key = len([*app])
        return function

    return register


@command(
    "drqfaiss plan base.npy -n 1000000 --recall 0.9",
    "drqfaiss plan base.npy -n 50000000 --memory 2GB --queries query.npy",
)
def plan(sample: Vectors, /, *, options: take.Plan = take.Plan()) -> Result:  # noqa: B008
    """Choose the index to build: the smallest that finds enough, or the best that fits.

    Small indexes are trained on a sample and searched thoroughly; how recall falls with their size tells
    what it will be among N vectors. Recall is k@k. The rows are what was tried, and drafts of other
    lengths; `drqfaiss train --factory` takes what is chosen, `drqfaiss tune` finds its fastest searches.
    """
    from drqfaiss.cli.plan import run

    return run(sample, options)


@command(
    "drqfaiss train base.npy -o trained.faiss",
    "drqfaiss train base.npy -o trained.faiss --factory IVF1024,DRQ16x8",
    "drqfaiss train base.npy -o trained.faiss --quality best --layout blocks",
)
def train(vectors: Vectors, /, *, options: take.Train) -> Result:
    """Train an empty index on a file of vectors.

    The index file that it writes is the start of `drqfaiss build`.
    """
    from drqfaiss.cli.train import run

    return run(vectors, options)


@command(
    "drqfaiss build trained.faiss base.npy -o base.faiss",
    "drqfaiss build trained.faiss base.npy -o base.faiss --hot-levels 8",
)
def build(index: IndexFile, vectors: Vectors, /, *, options: take.Build) -> Result:
    """Add a file of vectors to a trained index; repeat the command to go on after an interruption.

    INDEX is a file of `drqfaiss train` or of FAISS. Vectors are read in chunks, so the file may be larger
    than memory. Until it is done, the index so far is kept in the folder OUTPUT.build.
    """
    from drqfaiss.cli.build import run

    return run(index, vectors, options)


@command(
    "drqfaiss search base.faiss query.npy -k 3",
    "drqfaiss search base.faiss query.npy -k 10 -o neighbours.ivecs",
    "drqfaiss search base.faiss query.npy --levels 2 --refine-factor 10",
)
def search(index: IndexFile, queries: Vectors, /, *, options: take.Search = take.Search()) -> Result:  # noqa: B008
    """Find the nearest neighbours of a file of queries.

    Without OUTPUT they are printed, a line each. OUTPUT is .npz (arrays ids and distances), .npy or
    .ivecs (ids). Ids of -1 say that there were fewer than k vectors.
    """
    from drqfaiss.cli.search import run

    return run(index, queries, options)


@command(
    "drqfaiss eval base.faiss query.npy --base base.npy --levels 1,2,4 -k 1,10",
    "drqfaiss eval ivf.faiss query.npy --groundtruth true.ivecs --nprobe 1,4,16",
    name="eval",
)
def evaluate(index: IndexFile, queries: Vectors, /, *, options: take.Eval = take.Eval()) -> Result:  # noqa: B008
    """Measure recall and search time of an index, for settings of your choice.

    The exact neighbours come from a file (GROUNDTRUTH: ids, nearest first) or are found in the base
    vectors. A row is a search for k: its recall and its time. 1@k is the share of queries whose nearest
    neighbour is among the k found; k@k is the share of the k nearest neighbours that are.
    """
    from drqfaiss.cli.evaluate import run

    return run(index, queries, options)


@command(
    "drqfaiss tune base.faiss query.npy --base base.npy --recall 0.9 --save",
    "drqfaiss tune base.faiss query.npy --max-us 200 --plot front.svg",
)
def tune(index: IndexFile, queries: Vectors, /, *, options: take.Tune = take.Tune()) -> Result:  # noqa: B008
    """Find the fastest setting of an index's searches that reaches a recall.

    Recall is k@k: the share of the k nearest neighbours that a search for k finds. It counts exact
    neighbours, from a file (GROUNDTRUTH: ids, nearest first) or found in the base vectors; without
    either, what the most thorough search of the index finds. A third of the queries choose, the others
    tell the recall, with bounds at 95 % confidence. The rows are the settings than which no other is
    faster and better. One thread searches unless --threads says otherwise.
    """
    from drqfaiss.cli.tune import run

    return run(index, queries, options)


@command(
    "drqfaiss bench base.npy",
    "drqfaiss bench base.npy --factory DRQ8x8 PCA64,DRQ8x8 PQ8x8 --levels 4,8",
    "drqfaiss bench sift-128-euclidean.hdf5 --max-queries 1000 --threads 1",
)
def bench(
    data: Annotated[take.FileName, take.file("file, folder or prefix, see above")],
    /,
    *,
    options: take.Bench = take.Bench(),  # noqa: B008
) -> Result:
    """Compare index types on your data: training and encoding time, recall and search time.

    DATA is an ann-benchmarks HDF5 file, a folder or prefix of sift_base.fvecs, sift_query.fvecs, …, or
    one file that is split. Settings and training options apply to the indexes that have them. A row is a
    search for k: its recall and its time. FAISS's searches are timed at each SIMD level of its wheel and
    quoted at the best; training and adding run once, at its default.
    """
    from drqfaiss.cli.bench import run

    return run(data, options)


@command(
    "drqfaiss serve base.faiss",
    "drqfaiss serve shards --port 9000 --max-k 100",
    "drqfaiss serve /mnt/shards --ray head:6379 --replicas 2 --token-file token",
)
def serve(
    source: Annotated[take.FileName, take.file("folder of shards, or an index file")],
    /,
    *,
    options: take.Serve = take.Serve(),  # noqa: B008
) -> Result:
    """Answer searches over HTTP until it is interrupted.

    POST /search takes JSON or an .npy array of queries; / is a page to try it on, /docs describes all.
    Only this machine is listened to unless HOST says otherwise. Requests that have begun when it is told
    to stop (SIGINT, SIGTERM) are answered.
    """
    from drqfaiss.cli.serve import run

    return run(source, options)


@command("drqfaiss info", "drqfaiss info base.faiss --json")
def info(
    index: Annotated[take.FileName | None, take.file("an index file (default: the installation)")] = None,
    /,
    *,
    options: take.Info = take.Info(),  # noqa: B008
) -> Result:
    """Tell versions, SIMD level and how the plug-in found FAISS; or describe an index file."""
    from drqfaiss.cli.info import run

    return run(index, options)


app.register_install_completion_command()


@app.command(name="--show-completion")
def show_completion(shell: Literal["bash", "zsh", "fish"] | None = None, /) -> None:
    """Print what --install-completion would write, for the shell at hand or the one named."""
    print(app.generate_completion(shell=shell))
