"""What a Trainer does at which step: functions of the step alone, so that a resumed run repeats it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from drqfaiss import _check

RATES = ("one-cycle", "step", "constant")
OPTIMIZERS = ("adam", "momentum")
TRIPLETS = ("semi-hard", "explicit")
STARTS = ("kmeans", "random")
WARM_UP = 0.2  # The share of a cycle in which the rate rises.
STEP_DECAY, STEP_LENGTH = 0.9, 10_000  # the authors' code


@dataclass(frozen=True)
class Weights:
    """Weights of the losses; 0 leaves one out.

    Attributes:
        adaptive_margin: Of the adaptive margin loss on the word outputs, which is a mean over all classes and
            therefore small; the paper adds it with weight 1.
        likelihood: Of the likelihood loss on the word outputs; in neither paper nor code.
        triplet: Of the triplet loss on the features; with the "posterior" head on the word outputs.
        distortion: τ, of the distortion.
        hard: μ, of the hard codewords within the distortion.
        joint_central: ν, of the joint central loss.
    """

    adaptive_margin: float = 10.0
    likelihood: float = 0.0
    triplet: float = 1.0
    distortion: float = 1.0
    hard: float = 1.0
    joint_central: float = 0.1


@dataclass(frozen=True)
class TrainerOptions:
    """How to train.

    Attributes:
        epochs: Of the three stages: the network alone; with one level; with all levels.
        batch_size: Samples per step, of all processes together.
        network_rate: Highest learning rate of the network.
        backbone_rate: Share of that which the backbone learns at; the head has all of it. Less than 1 suits a
            backbone that is pre-trained.
        depth_decay: Share of the next layer's rate that each layer of the backbone learns at, counted from
            its end, where it says which layers it has (`depths`): first layers change least.
        quantizer_rate: Highest learning rate of codebook and scales.
        rates: {"one-cycle", "step", "constant"}. Rising over a fifth of the steps, then falling to zero, for
            the quantizer over its own two stages; times 0.9 every 10,000 steps (the authors' code); constant.
        optimizer: {"adam", "momentum"}. Of the network: Adam, or SGD with momentum 0.9 (the authors' code).
            The quantizer always has Adam.
        weight_decay: Decoupled from the gradient, of the network.
        weights: Of the losses.
        margin: Of the triplet loss; the authors' code has 2.5.
        triplets: {"semi-hard", "explicit"}. Found in the batch (the authors' code), or drawn as anchor,
            positive and negative, a third of the batch each (the paper).
        distortion_levels: {"all", "last"}. Which prefixes have a distortion.
        joint_levels: {"last", "all"}. Which prefixes have a joint central loss.
        end_to_end: Whether the quantization losses train the network, too (the paper; not the authors' code).
            They then need small weights, distortion=0.03 for example: at 1 they cost more than they bring.
        alternate: Whether every other step of the third stage quantizes at level 0 only (the authors' code).
        temperatures: Of the softmax at the start of stage 2 and the end of stage 3, geometric between.
        start: {"kmeans", "random"}. Of the codebook, when stage 2 begins.
        start_vectors: So many random samples' features are clustered then.
        clip: Largest norm of the gradient.
        mixed_precision: On CUDA: bfloat16, or float16 with scaled losses where the GPU lacks it.
        seed: Of batches, augmentation and dropout.
        checkpoint_steps: A checkpoint is written after so many steps, and at the end.
        log_steps: A line is logged after so many steps.

    Raises:
        TypeError, ValueError: Naming the option and what was expected.
    """

    epochs: tuple[int, int, int] = (20, 5, 15)
    batch_size: int = 128
    network_rate: float = 1e-3
    backbone_rate: float = 1.0
    depth_decay: float = 1.0
    quantizer_rate: float = 1e-3
    rates: str = "one-cycle"
    optimizer: str = "adam"
    weight_decay: float = 0.0
    weights: Weights = field(default_factory=Weights)
    margin: float = 1.0
    triplets: str = "semi-hard"
    distortion_levels: str = "all"
    joint_levels: str = "last"
    end_to_end: bool = False
    alternate: bool = False
    temperatures: tuple[float, float] = (0.2, 0.02)
    start: str = "kmeans"
    start_vectors: int = 20_000
    clip: float = 5.0
    mixed_precision: bool = True
    seed: int = 0
    checkpoint_steps: int = 500
    log_steps: int = 50

    def __post_init__(self) -> None:
        """Check every option."""
        allowed = {"rates": RATES, "optimizer": OPTIMIZERS, "triplets": TRIPLETS, "start": STARTS}
        for name, values in allowed.items():
            _check.one_of(name, getattr(self, name), values)
        for name in ("batch_size", "start_vectors", "checkpoint_steps", "log_steps"):
            _check.integer(name, getattr(self, name), 1)
        _check.integer("seed", self.seed, 0, 2**31 - 1)
        if len(self.epochs) != 3 or sum(_check.integer("epochs", count, 0) for count in self.epochs) == 0:
            raise ValueError(f"epochs: got {self.epochs}, expected three numbers, one for each stage")
        positive = {"network_rate": self.network_rate, "quantizer_rate": self.quantizer_rate}
        positive |= {"backbone_rate": self.backbone_rate, "depth_decay": self.depth_decay}
        positive |= {"clip": self.clip, "temperatures": min(self.temperatures)}
        for name, value in positive.items():
            if not 0 < _check.number(name, value) < math.inf:
                raise ValueError(f"{name}: got {value}, expected a finite number above 0")


class Schedule:
    """Stages, learning rates, temperatures and batches of a run on n samples."""

    def __init__(self, options: TrainerOptions, n: int) -> None:
        self.options, self.n = options, n
        self.batch_size = min(options.batch_size, n)
        self.steps_per_epoch = n // self.batch_size
        ends = torch.tensor(options.epochs).cumsum(0) * self.steps_per_epoch
        self.ends = ends.tolist()  # the step after each stage
        self._order: tuple[int, Tensor] | None = None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.ends[-1]

    def stage(self, step: int) -> int:
        """Return the stage of a step, 0, 1 or 2."""
        return sum(step >= end for end in self.ends)

    def levels(self, step: int, levels: int) -> int:
        """Return how many of the levels the step quantizes at."""
        alternate = self.options.alternate and step % 2 == 1
        return (0, 1, 1 if alternate else levels)[self.stage(step)]

    def network_rate(self, step: int) -> float:
        """Return the network's learning rate."""
        return self.options.network_rate * self._factor(step, 0)

    def quantizer_rate(self, step: int) -> float:
        """Return the learning rate of codebook and scales."""
        return self.options.quantizer_rate * self._factor(step, self.ends[0])

    def temperature(self, step: int) -> float:
        """Return the temperature of the softmax."""
        first, last = self.options.temperatures
        return first * (last / first) ** self._progress(step, self.ends[0])

    def rows(self, step: int) -> Tensor:
        """Return the samples of a step's batch, every sample at most once per epoch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            order = torch.randperm(self.n, generator=generator(self.options.seed, epoch))
            self._order = epoch, order
        return self._order[1][position * self.batch_size : (position + 1) * self.batch_size]

    def _progress(self, step: float, begin: int) -> float:
        return min(max((step - begin) / max(self.steps - begin, 1), 0.0), 1.0)

    def _factor(self, step: int, begin: int) -> float:
        if self.options.rates == "constant":
            return 1.0
        if self.options.rates == "step":
            return STEP_DECAY ** (step // STEP_LENGTH)
        done = self._progress(step + 0.5, begin)  # A rate of zero would be a step of nothing.
        return done / WARM_UP if done < WARM_UP else (1 - done) / (1 - WARM_UP)


def generator(*seeds: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a random generator that is determined by several numbers."""
    return torch.Generator(device).manual_seed(mixed_seed(*seeds))


def mixed_seed(*seeds: int) -> int:
    """Return one seed for several numbers."""
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 6364136223846793005 + seed + 1442695040888963407) % 2**63
    return mixed
