"""The paper's experiments: one supervised training, every code length a prefix of its codes.

Trains a network and its quantizer, then compares with quantizers trained for one length each on the same
features, and with the figures the paper reports. Started again, it goes on from its checkpoint. Progress goes
to stderr, the tables to stdout; tables, figures as JSON and plots are saved in the output folder.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import sys
from pathlib import Path
from typing import Any

# Spinning OpenMP threads slow each other down; libgomp reads this once, on loading.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Pages of 2 MiB for tensors: PyTorch reads this once, too.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import faiss
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.paper import methods as paper_methods
from benchmarks.paper import report as paper_report
from benchmarks.paper.ablation import FULL, VARIANTS, Variant
from benchmarks.paper.methods import PEERS, Vectors
from benchmarks.paper.tasks import TASKS, Part, Task
from drqfaiss.evaluation import mean_average_precision, relevance
from drqfaiss.supervised import DRQModel, Trainer, TrainerOptions
from drqfaiss.supervised.log import read_log
from drqfaiss.supervised.model import HEADS
from drqfaiss.supervised.schedule import Weights

SAMPLE_QUERIES, SAMPLE_BASE = 1_000, 5_000  # of the evaluations during training
SAMPLE_INTERVAL = 25_000  # samples trained on between them, at least: they are to cost little
EPOCHS = {"cifar10-1": "40,5,15", "cifar10-2": "150,20,80", "embeddings": "8,2,6"}
OTHER_EPOCHS = "40,5,15"
# M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h: no mappings of their own for large blocks, nothing
# returned, 256 MiB fetched at a time.
MALLOC_OPTIONS = {-4: 0, -1: 2**31 - 1, -2: 2**28}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    keep_memory()
    say(f"reading {options.data}")
    task = TASKS[options.task](options)
    run = Path(options.run) / options.task
    print(run_ablation(task, options, run) if options.ablation else run_task(task, options, run))


def keep_memory() -> None:
    """Have glibc keep freed memory: fetching it from the kernel again every step takes half of the time."""
    allocator = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(allocator, "mallopt"):
        for option, value in MALLOC_OPTIONS.items():
            allocator.mallopt(option, value)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add_data_options(parser)
    add_training_options(parser)
    options = parser.parse_args(arguments)
    options.peers = peers(parser, options.peers)
    options.raw_peers = options.peers if options.raw_peers is None else peers(parser, options.raw_peers)
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = options.device.startswith("cuda")
    options.batch_size = options.batch_size or (512 if on_gpu else 128)
    options.network_rate = options.network_rate or (2e-3 if on_gpu else 1e-3)
    epochs = options.epochs or EPOCHS.get(options.task, OTHER_EPOCHS)
    options.epochs = tuple(int(count) for count in epochs.split(","))
    return options


def peers(parser: argparse.ArgumentParser, names: str) -> list[str]:
    """Split names at commas; exit if one is unknown."""
    unknown = set(names.split(",")) - {"", *PEERS}
    if unknown:
        parser.error(f"--peers: {sorted(unknown)}, expected some of {','.join(PEERS)}")
    return [name for name in names.split(",") if name]


def add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--data", required=True, help="file, folder or (embeddings) common prefix")
    parser.add_argument("--words", help="word vectors of the classes, a text file such as GloVe's")
    parser.add_argument("--out", default="paper-out", help="folder for tables and plots")
    parser.add_argument("--run", default="paper-out/runs", help="folder for checkpoint, log and model")
    parser.add_argument("--size", type=int, default=224, help="of images that come as lists of files")
    parser.add_argument("--train-share", type=float, default=0.5, help="of embeddings that are trained on")
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be read")
    parser.add_argument("--peers", default=",".join(PEERS), help="what to compare with")
    parser.add_argument("--raw-peers", help="the same on raw embeddings; by default as --peers")
    parser.add_argument("--tsne", type=int, default=5_000, help="vectors in the t-SNE plot; 0: no plot")
    parser.add_argument(
        "--ablation", action="store_true", help="train with one thing left out at a time instead"
    )


def add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu or cuda; by default cuda where there is one")
    parser.add_argument("--epochs", help=f"of the three stages; by default {EPOCHS}, else {OTHER_EPOCHS}")
    parser.add_argument("--batch-size", type=int, help="by default 512 on CUDA, else 128")
    parser.add_argument("--network-rate", type=float, help="by default 0.002 on CUDA, else 0.001")
    parser.add_argument("--quantizer-rate", type=float, default=0.002)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument(
        "--adaptive-margin", type=float, default=Weights.adaptive_margin, help="weight of that loss"
    )
    parser.add_argument("--margin", type=float, default=1.0, help="of the triplet loss")
    parser.add_argument(
        "--backbone", choices=["alexnet", "convnet", "efficientnet-lite0", "resnet"], default="resnet"
    )
    parser.add_argument(
        "--width", type=int, default=64, help="channels of convnet's and resnet's first layer"
    )
    parser.add_argument("--mlp-width", type=int, default=1024, help="of the hidden layer on embeddings")
    parser.add_argument(
        "--input-size", type=int, default=128, help="pixels that efficientnet-lite0 scales to"
    )
    parser.add_argument(
        "--frozen", type=int, default=0, help="layers of efficientnet-lite0 that do not learn"
    )
    parser.add_argument("--backbone-rate", type=float, default=1.0, help="of the backbone, as a share")
    parser.add_argument("--depth-decay", type=float, default=1.0, help="of rates from layer to layer")
    parser.add_argument("--cut", type=int, default=0, help="pixels of the square cut out of images")
    parser.add_argument("--mirrored", action="store_true", help="encode images and their mirror images")
    parser.add_argument("--likelihood", type=float, default=0.0, help="weight of that loss")
    parser.add_argument("--triplet", type=float, default=Weights.triplet, help="weight of that loss")
    parser.add_argument("--first-pool", action="store_true", help="of resnet: quarter the operations")
    parser.add_argument("--head", choices=HEADS, default="parallel", help="what makes features")
    parser.add_argument("--hidden", type=int, default=128, help="features besides the word outputs")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)


def run_task(task: Task, options: argparse.Namespace, run: Path) -> str:
    """Train, compare, save everything, and return the tables."""
    model, trainer = train(task, options, run, FULL)
    model.save(run / "model.pt")
    learned = learned_vectors(model, task)
    results = paper_methods.compare(task, model.quantizer(), learned, options.peers, options.raw_peers)
    weights = sum(parameter.numel() for parameter in model.parameters())
    header = paper_report.about(task, options, trainer.seconds, weights)
    text = paper_report.tables(header, task, results, model.d)
    folder = Path(options.out)
    paper_report.save(folder, options.task, header, text, results)
    paper_report.plot_results(folder / f"{options.task}.svg", header, results)
    paper_report.plot_training(
        folder / f"{options.task}-training.svg", task.title, read_log(run / "log.jsonl")
    )
    if options.tsne:
        say("t-SNE")
        path = folder / f"{options.task}-tsne.png"
        paper_report.plot_tsne(path, task, model.quantizer(), learned, options.tsne)
    return text


def run_ablation(task: Task, options: argparse.Namespace, run: Path) -> str:
    """Train every variant, save the table, and return it."""
    results, seconds = [], 0.0
    for name, variant in VARIANTS.items():
        say(f"variant: {name}")
        model, trainer = train(task, options, run / name.replace(" ", "-"), variant)
        learned = learned_vectors(model, task)
        results += paper_methods.own_codes(task, model.quantizer(), learned, name)
        seconds += trainer.seconds
    if task.embeddings:
        raw = paper_methods.raw_vectors(task)
        results += paper_methods.unsupervised(task, raw)
    weights = sum(parameter.numel() for parameter in model.parameters())
    header = paper_report.about(task, options, seconds, weights)
    text = paper_report.ablation_table(header, task, results)
    paper_report.save(Path(options.out), f"{options.task}-ablation", header, text, results)
    return text


def train(task: Task, options: argparse.Namespace, run: Path, variant: Variant) -> tuple[DRQModel, Trainer]:
    """Train, or go on from the checkpoint."""
    run.mkdir(parents=True, exist_ok=True)
    training = {
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "network_rate": options.network_rate,
        "quantizer_rate": options.quantizer_rate,
        "weight_decay": options.weight_decay,
        "weights": Weights(
            **{
                "adaptive_margin": options.adaptive_margin,
                "likelihood": options.likelihood,
                "triplet": options.triplet,
                **variant.weights,
            }
        ),
        "backbone_rate": options.backbone_rate,
        "depth_decay": options.depth_decay,
        "margin": options.margin,
        "seed": options.seed,
        "checkpoint_steps": 100,
        "log_steps": 10,
    }
    trainer = Trainer(
        make_model(task, options, variant),
        task.train.inputs,
        task.train.labels,
        task.word_vectors,
        options=TrainerOptions(**{**training, **variant.training}),
        augment=task.augment,
        device=options.device,
        checkpoint=run / "checkpoint.pt",
        log=run / "log.jsonl",
        after_epoch=lambda trainer: sampled(trainer, task),
    )
    return trainer.fit(), trainer


def make_model(task: Task, options: argparse.Namespace, variant: Variant) -> DRQModel:
    """Build the untrained model that suits the task's inputs."""
    torch.manual_seed(options.seed)
    sizes = {
        "word_features": task.classes if task.word_vectors is None else task.word_vectors.shape[1],
        "hidden_features": 0 if options.head == "posterior" else options.hidden,
        "head": options.head,
        "classes": task.classes if options.head == "posterior" else None,
        "levels": task.levels,
        "bits": task.level_bits,
    }
    if task.embeddings:
        backbone = "mlp", {"d": task.train.inputs.shape[1], "width": options.mlp_width}
    else:
        backbone = options.backbone, image_backbone_options(options)
        sizes["mirrored"] = options.mirrored
    return DRQModel(*backbone, **{**sizes, **variant.model})


def image_backbone_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the chosen network of images takes."""
    width = {"width": options.width}
    return {
        "alexnet": {},
        "convnet": width,
        "efficientnet-lite0": {"size": options.input_size, "frozen": options.frozen},
        "resnet": {**width, "first_pool": options.first_pool},
    }[options.backbone]


def sampled(trainer: Trainer, task: Task) -> dict[str, float]:
    """Return mAP on a sample, if enough was trained on since the last time or training is over."""
    interval = math.ceil(SAMPLE_INTERVAL / len(task.train)) * trainer.schedule.steps_per_epoch
    if trainer.step % interval and trainer.step < trainer.schedule.steps:
        return {}
    return {"sample_map": sample_map(trainer.model, task)}


def sample_map(model: DRQModel, task: Task) -> float:
    """Return mAP of float features on a sample: fewer queries and vectors, R in proportion."""
    query, base = task.query.first(SAMPLE_QUERIES), task.base.first(SAMPLE_BASE)
    index = faiss.IndexFlatIP(model.d)
    index.add(model.encode_features(base.inputs))
    rank = max(round(task.rank * len(base) / len(task.base)), 1)
    features = model.encode_features(query.inputs)
    return mean_average_precision(relevance(index, features, query.labels, base.labels, rank))


def learned_vectors(model: DRQModel, task: Task) -> Vectors:
    """Return the features of all parts; training inputs are not encoded twice where they are the base."""
    base = features_of(model, task.base)
    train = base if task.train is task.base else features_of(model, task.train)
    return Vectors("learned", train, base, features_of(model, task.query))


def features_of(model: DRQModel, part: Part) -> np.ndarray:
    return model.encode_features(part.inputs, progress=lambda batches: tqdm(batches, unit="batch"))


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
