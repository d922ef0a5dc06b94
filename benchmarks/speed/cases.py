"""The cases of ``measure.py``, by group."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import faiss
import numpy as np

import drqfaiss
from benchmarks.speed.case import Case, Setting, levels, packed, searches, single_searches
from benchmarks.speed.two_stage import two_stage
from drqfaiss.cli.timing import Task

AQ = faiss.AdditiveQuantizer
METRICS = {"L2": faiss.METRIC_L2, "IP": faiss.METRIC_INNER_PRODUCT}
READ, FAST_SCAN, PQ, RQ = "reading the codes", "PQ fast-scan", "IndexPQ 8x8", "IndexRQ 8x8 qint8"
RQ_FLOAT = "IndexRQ 8x8 float norm"
SHARE = 0.01  # of the vectors that are selected or removed
RANGE_RESULTS = 100
ENCODED = 20_000
ONCE = np.zeros((1, 1), np.float32)  # the rows of an operation that takes none


def reading(codes: np.ndarray) -> Task:
    """Read all codes once per row."""
    words = codes.ravel()[: codes.size // 8 * 8].view(np.int64)
    return Task(lambda rows: [words.max() for _ in rows], own=True)


def batch(setting: Setting) -> Iterator[Case]:
    """Many queries at once, N vectors, k = 10."""
    fill, n = setting.fill, setting.n
    fast_scan = {("L2", 4): 3.3, ("L2", 8): 3, ("L2", 16): 2.7, ("IP", 8): 3.6}
    read = {("L2", 8): 1 / 1.6, ("IP", 8): 1 / 1.4}
    for name, metric in METRICS.items():
        for M in (4, 8, 16):
            peers = {
                FAST_SCAN: searches(fill.fast_scan(n, M, metric)),
                READ: reading(fill.tiled(n, "level", M, 8)),
            }
            if (name, M) == ("L2", 8):
                peers[PQ] = searches(fill.pq(n, M))
                peers[RQ] = searches(fill.rq(n, M))
                peers[RQ_FLOAT] = searches(fill.rq(n, M, search_type=AQ.ST_norm_float))
            targets = {FAST_SCAN: fast_scan.get((name, M)), READ: read.get((name, M))}
            targets |= {PQ: 11, RQ: 90} if PQ in peers else {}
            own = searches(fill.drq(n, M, metric))
            yield Case(f"{name}, N = {n:,}, M = {M}, k = 10", setting.queries, own, peers, targets)


def sizes(setting: Setting) -> Iterator[Case]:
    """Many queries at once on smaller indexes and with larger k."""
    fill, n = setting.fill, setting.n
    targets = {(n, 100): 2.3, (n // 10, 100): 1.4, (n // 100, 100): 1.0}
    for size, k in [*targets, (n // 10, 10), (n // 100, 10)]:
        yield Case(
            f"L2, N = {size:,}, M = 8, k = {k}",
            setting.queries,
            searches(fill.drq(size, 8), k),
            {FAST_SCAN: searches(fill.fast_scan(size, 8), k)},
            {FAST_SCAN: targets.get((size, k))},
        )


def single(setting: Setting) -> Iterator[Case]:
    """One query at a time, through Python."""
    fill, n = setting.fill, setting.n
    for name, metric in METRICS.items():
        for size, target in ((n, 2.2), (n // 100, 1.0)):
            index, peer = fill.drq(size, 8, metric), single_searches(fill.fast_scan(size, 8, metric))
            for title, task in (
                ("one query", single_searches(index)),
                ("one query, packed", single_searches(packed(fill.drq(size, 8, metric)))),
            ):
                yield Case(
                    f"{title}, {name}, N = {size:,}",
                    setting.queries,
                    task,
                    {FAST_SCAN: peer},
                    {FAST_SCAN: target},
                )
    if (os.cpu_count() or 1) > 1:
        index = fill.drq(n, 8)
        yield Case(
            f"one query on 2 threads, L2, N = {n:,}",
            setting.queries,
            single_searches(index, threads=2),
            {"1 thread": single_searches(index)},
            {"1 thread": 1.6},
        )


def prefix(setting: Setting) -> Iterator[Case]:
    """Half of the levels."""
    for n in [setting.n, 10 * setting.n][: 1 + setting.large]:
        for name, metric in METRICS.items():
            index, peer = setting.fill.drq(n, 8, metric), "all 8 levels"
            for title, task in (("4 of 8 levels", searches), ("4 of 8 levels, one query", single_searches)):
                yield Case(
                    f"{title}, {name}, N = {n:,}",
                    setting.queries,
                    task(index, **levels(4)),
                    {peer: task(index, **levels(8))},
                    {peer: 1 / 0.62},
                )
        pack = packed(setting.fill.drq(n, 8))
        yield Case(
            f"4 of 8 levels, one query, packed, L2, N = {n:,}",
            setting.queries,
            single_searches(pack, **levels(4)),
            {
                "all 8 levels": single_searches(pack, **levels(8)),
                "not packed": single_searches(setting.fill.drq(n, 8), **levels(4)),
            },
            {"all 8 levels": 1 / 0.62},
        )


def tables(setting: Setting) -> Iterator[Case]:
    """Use a table per level: vector scales, and a stock residual quantizer that was adopted."""
    fill, n = setting.fill, setting.n
    adopted = drqfaiss.adopt(fill.rq(n, 8, kind="rq"))
    for title, index in (("vector scales", fill.drq(n, 8, kind="vector")), ("adopted RQ qint8", adopted)):
        peers = {FAST_SCAN: searches(fill.fast_scan(n, 8)), RQ: searches(fill.rq(n, 8, kind="rq"))}
        targets = {FAST_SCAN: 2, RQ: 60}
        yield Case(f"{title}, L2, N = {n:,}", setting.queries, searches(index), peers, targets)


def wide(setting: Setting) -> Iterator[Case]:
    """Fewer levels of more bits at the same bytes."""
    fill, n = setting.fill, setting.n
    for bits in (9, 10):
        index, title = fill.drq(n, 64 // bits, bits=bits), f"{64 // bits} levels of {bits} bits"
        eight = "8 levels of 8 bits"
        peers = {FAST_SCAN: fill.fast_scan(n, 8), PQ: fill.pq(n, 8), eight: fill.drq(n, 8)}
        for suffix, task in (("", searches), (", one query", single_searches)):
            tasks = {peer: task(other) for peer, other in peers.items()}
            yield Case(f"{title}{suffix}, L2, N = {n:,}", setting.queries, task(index), tasks)
        tasks = {FAST_SCAN: single_searches(peers[FAST_SCAN]), eight: single_searches(packed(fill.drq(n, 8)))}
        title = f"{title}, one query, packed, L2, N = {n:,}"
        yield Case(title, setting.queries, single_searches(packed(index)), tasks)


def order(setting: Setting) -> Iterator[Case]:
    """Vectors stored farthest first: every one enters the results of its time."""
    fill, n = setting.fill, setting.n
    index, query = fill.drq(n, 8), setting.queries[:1]
    chunk = len(fill.base)
    starts = range(0, n, chunk)
    parts = [index.reconstruct_n(start, min(chunk, n - start)) for start in starts]
    distances = np.concatenate([((part - query) ** 2).sum(1) for part in parts])
    farthest_first = fill.drq(0, 8)
    farthest_first.add_sa_codes(fill.tiled(n, "level", 8, 8)[np.argsort(-distances)])
    rows = np.repeat(query, 1000, axis=0)
    peer = "random order"
    for title, task in (("one query", single_searches), ("a batch of it", searches)):
        peers = {peer: task(index)}
        yield Case(f"farthest first, {title}, N = {n:,}", rows, task(farthest_first), peers, {peer: 1 / 1.7})


def subsets(setting: Setting) -> Iterator[Case]:
    """Selectors and range search."""
    fill, n, queries = setting.fill, setting.n, setting.queries
    chosen = np.random.default_rng(fill.seed).choice(n, max(1, int(SHARE * n)), replace=False)
    selector = faiss.IDSelectorBatch(chosen)
    index, stock = fill.drq(n, 8), fill.rq(n, 8)
    # FAISS's residual quantizer and PQ refuse selectors: one has to search everything and filter.
    everything = f"{RQ}, all"
    yield Case(
        f"selector of {SHARE:.0%}, L2, N = {n:,}",
        queries,
        searches(index, params=drqfaiss.SearchParametersDRQ(sel=selector)),
        {everything: searches(stock), "no selector": searches(index)},
        {everything: 3},
    )
    farthest = index.search(queries[:100], min(RANGE_RESULTS, n))[0][:, -1]
    radius = float(np.median(farthest))
    yield Case(
        f"range search, about {RANGE_RESULTS} results, L2, N = {n:,}",
        queries,
        Task(lambda rows: index.range_search(rows, radius), own=True),
        {
            RQ: Task(lambda rows: stock.range_search(rows, radius), own=False),
            "search, k = 100": searches(index, 100),
        },
        {RQ: 10},
    )


def changes(setting: Setting) -> Iterator[Case]:
    """Adding and removing, and the first search afterwards."""
    fill, n = setting.fill, setting.n
    own, small, stock = fill.drq(n, 8), fill.drq(n // 100, 8), fill.rq(n, 8)
    stock.rq.max_beam_size = own.rq.max_beam_size
    row, query = fill.base[:1], setting.queries[:1]
    for index in (own, small):
        index.search(query, 10)  # from now on there are norms to be kept up to date
    yield Case(
        f"adding 1 row, N = {n:,}",
        fill.base[:1000],
        single_adds(own),
        {f"N = {n // 100:,}": single_adds(small), RQ: single_adds(stock)},
    )
    warm = "no change before"
    search = single_searches(own).run
    once = {"rows": query, "all_rows": True}
    yield Case(
        f"first search after adding 1 row, N = {n:,}",
        own=Task(search, True, prepare=lambda: own.add(row)),
        peers={warm: Task(search, True)},
        **once,
    )
    removing, refill = removal(own, query)
    stock_removing, stock_refill = removal(stock)
    yield Case(
        f"removing {SHARE:.0%}, N = {n:,}",
        own=Task(removing, True, prepare=refill),
        peers={RQ: Task(stock_removing, False, prepare=stock_refill)},
        **once,
    )
    yield Case(
        f"first search after removing {SHARE:.0%}, N = {n:,}",
        own=Task(search, True, prepare=lambda: (refill(), removing(ONCE))),
        peers={warm: Task(search, True)},
        **once,
    )


def single_adds(index: faiss.Index) -> Task:
    """Add the rows one by one."""

    def run(rows: np.ndarray) -> None:
        for i in range(len(rows)):
            index.add(rows[i : i + 1])

    return Task(run, isinstance(index, drqfaiss.IndexDRQ))


def removal(
    index: faiss.Index, query: np.ndarray | None = None
) -> tuple[Callable[[np.ndarray], object], Callable[[], object]]:
    """Return a function that removes a share of the vectors, and one that fills the index up before it.

    Filling up ends with a search for ``query``, so that nothing is left to be done for the new vectors.
    """
    n = index.ntotal
    codes = faiss.vector_to_array(index.codes).reshape(n, -1)[: max(1, int(SHARE * n))]
    selector = faiss.IDSelectorBatch(np.random.default_rng(0).choice(n, len(codes), replace=False))

    def refill() -> None:
        index.add_sa_codes(codes[: n - index.ntotal])
        if query is not None:
            index.search(query, 10)

    return lambda rows: index.remove_ids(selector), refill


def avx2(setting: Setting) -> Iterator[Case]:
    """Our AVX2 kernels, on any machine that has them; FAISS up to AVX2, too."""
    if drqfaiss.simd_level() == "scalar":
        return
    fill, n = setting.fill, setting.n
    for title, bits, target in (("K = 256, M = 8", 8, {PQ: 1.4}), ("K = 16, M = 16", 4, {FAST_SCAN: 1.4})):
        own = searches(fill.drq(n, 64 // bits, bits=bits))
        peers = {PQ: searches(fill.pq(n, 8)), FAST_SCAN: searches(fill.fast_scan(n, 8))}
        title = f"AVX2 only, {title}, L2, N = {n:,}"
        yield Case(title, setting.queries, own, peers, target, simd="avx2")


def encode(setting: Setting) -> Iterator[Case]:
    """Encode with our codebooks, by us and by FAISS."""
    fill = setting.fill
    rows = fill.base[:ENCODED]
    for beam, target, lut_target in ((1, 6, None), (5, 9, 5), (16, 9, None)):
        own, default, lut = fill.drq(0, 8), fill.rq(0, 8), fill.rq(0, 8)
        lut.rq.use_beam_LUT = 1
        named = {"": own, "RQ default": default, "RQ LUT": lut}
        for index in named.values():
            index.rq.max_beam_size = beam
        tasks = {name: Task(index.sa_encode, index is own) for name, index in named.items()}
        yield Case(
            f"encoding a vector, beam {beam}, M = 8",
            rows,
            tasks.pop(""),
            tasks,
            {"RQ default": target, "RQ LUT": lut_target},
            errors=lambda named=named: error_ratios(named, rows[:1000]),
        )


def train(setting: Setting) -> Iterator[Case]:
    """Train 8 levels on all threads, each method with its own defaults."""
    learn, threads = setting.fill.data.learn, os.cpu_count() or 1
    n, d = learn.shape
    ours = {"max_vectors": n, "seed": setting.fill.seed, "layout": "shared", "progress": False}
    named = {
        "": drqfaiss.IndexDRQ(d, 8, **ours),
        "scale=vector": drqfaiss.IndexDRQ(d, 8, scale="vector", **ours),
        "IndexRQ": faiss.IndexResidualQuantizer(d, 8, 8),
    }

    def training(index: faiss.Index) -> Task:
        return Task(lambda _: index.train(learn), isinstance(index, drqfaiss.IndexDRQ), threads)

    yield Case(
        f"training, {n:,} vectors, 8 levels",
        ONCE,
        training(named[""]),
        {name: training(index) for name, index in named.items() if name},
        {"IndexRQ": 3},
        all_rows=True,
        runs=1,
        errors=lambda: error_ratios(named, setting.fill.base[:ENCODED]),
    )


def error_ratios(named: dict[str, faiss.Index], rows: np.ndarray) -> dict[str, float]:
    """Return the reconstruction error of the index named "" divided by every other's."""
    errors = {
        name: float(((index.sa_decode(index.sa_encode(rows)) - rows) ** 2).sum())
        for name, index in named.items()
    }
    own = errors.pop("")
    return {name: own / error for name, error in errors.items()}


GROUPS: dict[str, Callable[[Setting], Iterator[Case]]] = {
    "search": batch,
    "sizes": sizes,
    "single": single,
    "levels": prefix,
    "two-stage": two_stage,
    "tables": tables,
    "wide": wide,
    "order": order,
    "subsets": subsets,
    "changes": changes,
    "avx2": avx2,
    "encode": encode,
    "train": train,
}
