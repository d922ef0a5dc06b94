"""Trains a DRQModel in three stages: the network, then one level, then all levels."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from drqfaiss import _fingerprint as fingerprint
from drqfaiss._least_squares import train as least_squares
from drqfaiss.supervised import _files, _processes
from drqfaiss.supervised.labels import label_matrix
from drqfaiss.supervised.log import Log
from drqfaiss.supervised.losses import (
    AdaptiveMarginLoss,
    DistortionLoss,
    JointCentralLoss,
    LikelihoodLoss,
    SemiHardTripletLoss,
    TripletLoss,
)
from drqfaiss.supervised.model import DRQModel, Output, take
from drqfaiss.supervised.schedule import Schedule, TrainerOptions, Weights, generator, mixed_seed
from drqfaiss.supervised.triplets import TripletSampler

__all__ = ["Trainer", "TrainerOptions", "Weights"]

FILE_KIND = "drqfaiss.Trainer"
FILE_VERSION = 1
RESIDENT_BYTES = 16 * 2**30  # Inputs of up to so many bytes are kept on a CUDA device.
# Numbers of random streams that must not meet.
STREAMS = {"dropout": 1, "augment": 2, "triplets": 3, "start": 4}

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Trainer:
    """Trains a model on labelled inputs.

    Started by torchrun, every process takes its share of each batch and the gradients are averaged
    (DistributedDataParallel); semi-hard negatives are then those of the process's own share.

    Args:
        model: To be trained, in place.
        inputs: array or tensor (n, ...). What the backbone takes. On the CPU they stay where they are, in a
            memory-mapped file for example; a CUDA device keeps a copy, up to 16 GiB.
        labels: array (n,) of classes, or (n, C) of zeros and ones.
        word_vectors: array (C, w). Of the classes, w the model's word_features; None: w = C orthogonal ones,
            so that all classes are equally different.
        options: How to train.
        augment: Changes a batch on its device, given a random generator there.
        device: To compute on; None: a CUDA device if there is one.
        checkpoint: File to write checkpoints to. If it exists, `fit` goes on from there, with the same result
            as an unbroken run.
        log: File to log to, one JSON object per line.
        after_epoch: Called with the trainer after every epoch, in the first process; the figures it returns
            are logged, if there are any.
        progress: Whether to show a progress bar.

    Raises:
        TypeError, ValueError: An argument is not as above; the message names it and what was expected.
    """

    def __init__(
        self,
        model: DRQModel,
        inputs: np.ndarray | Tensor,
        labels: ArrayLike,
        word_vectors: ArrayLike | None = None,
        *,
        options: TrainerOptions | None = None,
        augment: Augment | None = None,
        device: str | torch.device | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        log: str | os.PathLike[str] | None = None,
        after_epoch: Callable[[Trainer], dict[str, float]] | None = None,
        progress: bool = True,
    ) -> None:
        self.options = options or TrainerOptions()
        self.processes = _processes.join(device)
        self.device = self.processes.device
        self.inputs = inputs
        self.word_vectors = _word_vectors(word_vectors, model.config["word_features"])
        matrix = label_matrix(labels, len(self.inputs), len(self.word_vectors))
        _require_pairs(matrix)
        self.sampler = TripletSampler(matrix) if self.options.triplets == "explicit" else None
        self.schedule = Schedule(self.options, len(self.inputs))
        self._require_batches()
        self._require_codewords(model)
        if self.device.type != "cpu" and self.inputs.nbytes <= RESIDENT_BYTES:
            self.inputs = take(self.inputs, slice(None)).to(self.device)
        self.labels = matrix.to(self.device)
        model.head.set_word_vectors(self.word_vectors)
        self.model = model.to(self.device)
        self.network = self._distributed(self.model)
        self.losses = self._losses()
        self.optimizers = self._optimizers()
        self.precision = _half_precision(self.device)
        scaled = self._mixed() and self.precision == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.augment, self.after_epoch = augment, after_epoch
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.log = Log(log if self.processes.rank == 0 else None)
        self.progress = progress and self.processes.rank == 0
        self.step = 0
        self.seconds = 0.0  # Seconds of training, over all runs.
        self.saved_step: int | None = None

    def fit(self) -> DRQModel:
        """Train to the end, from the checkpoint if there is one, and return the model, ready to encode.

        Raises:
            FloatingPointError: The loss or its gradient is not finite; the message names the step and the
                checkpoint, which is the last good one.
            ValueError: The checkpoint is damaged or of another run.
        """
        self._resume()
        self.log.start(self.step)
        started = time.perf_counter() - self.seconds
        bar = tqdm(total=self.schedule.steps, initial=self.step, unit="step", disable=not self.progress)
        with bar:
            while self.step < self.schedule.steps:
                losses = self._train_step()
                self.seconds = time.perf_counter() - started
                self._report(bar, losses)
                if self.step % self.options.checkpoint_steps == 0 or self.step == self.schedule.steps:
                    self._save()
        return self.model.eval()

    def _train_step(self) -> dict[str, float]:
        """Run one step; return the losses by name."""
        if self.step == self.schedule.ends[0]:
            self._start_quantizer()
        self.model.train()
        self.model.block.temperature = self.schedule.temperature(self.step)
        batch, labels = self._batch()
        levels = self.schedule.levels(self.step, self.model.block.levels)
        torch.manual_seed(mixed_seed(self.options.seed, STREAMS["dropout"], self.step, self.processes.rank))
        with self._autocast():
            output = self.network(batch, levels, not self.options.end_to_end)
        losses = self._weighted_losses(output, labels)
        total = torch.stack(list(losses.values())).sum()
        values = {name: loss.item() for name, loss in losses.items()}
        self._require_finite("loss", values)
        self._descend(total)
        self.step += 1
        return {"loss": sum(values.values()), **values}

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Return this process's share of the step's inputs and labels."""
        rank, world, device = self.processes
        rows = self.schedule.rows(self.step)
        if self.sampler is not None:
            chance = generator(self.options.seed, STREAMS["triplets"], self.step)
            rows = self.sampler.draw(rows[: max(len(rows) // 3, 1)], chance).view(3, -1)
            rows = rows[:, rank::world].reshape(-1)
        else:
            rows = rows[rank::world]
        batch = take(self.inputs, rows).to(device, non_blocking=True)
        if self.augment is not None:
            chance = generator(self.options.seed, STREAMS["augment"], self.step, rank, device=device)
            batch = self.augment(batch, chance)
        return batch, self.labels[rows.to(device)]

    def _weighted_losses(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Return every loss times its weight; those of weight 0 are not computed."""
        weights, losses = self.options.weights, {}
        if weights.adaptive_margin:
            margin = self.losses["adaptive_margin"](output.words, labels)
            losses["adaptive_margin"] = weights.adaptive_margin * margin
        if weights.likelihood:
            likelihood = self.losses["likelihood"](output.words, labels)
            losses["likelihood"] = weights.likelihood * likelihood
        if weights.triplet:
            # Probabilities have hardly a gradient where they are certain, the words they are of do.
            compared = output.words if self.model.head.posterior else output.features
            losses["triplet"] = weights.triplet * self._triplet_loss(compared, labels)
        if output.quantized is not None:
            x = output.features if self.options.end_to_end else output.features.detach()
            if weights.distortion:
                distortion = self.losses["distortion"](x, output.quantized)
                losses["distortion"] = weights.distortion * distortion
            if weights.joint_central:
                joint = self.losses["joint_central"](output.quantized)
                losses["joint_central"] = weights.joint_central * joint
        return losses or {"none": 0 * output.features.sum()}

    def _triplet_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        if self.sampler is not None:
            return self.losses["triplet"](*features.chunk(3))
        return self.losses["triplet"](features, labels)

    def _descend(self, total: Tensor) -> None:
        """Take a step down the gradient of the total loss."""
        rates = {"network": self.schedule.network_rate, "quantizer": self.schedule.quantizer_rate}
        for name, optimizer in self.optimizers.items():
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = group["share"] * rates[name](self.step)
        self.scaler.scale(total).backward()
        used = [optimizer for optimizer in self.optimizers.values() if _has_gradients(optimizer)]
        for optimizer in used:  # A scaler refuses those without gradients, the quantizer's in stage 1.
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip).item()
        if not self.scaler.is_enabled():  # A scaler finds its scale by skipping steps that overflow.
            self._require_finite("gradient", {"norm": norm})
        for optimizer in used:
            self.scaler.step(optimizer)
        self.scaler.update()

    def _require_finite(self, what: str, values: dict[str, float]) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        last = (
            "no checkpoint was written"
            if self.saved_step is None
            else (f"the last good checkpoint is {self.checkpoint}, of step {self.saved_step}")
        )
        raise FloatingPointError(f"step {self.step}: the {what} is not finite ({values}); {last}")

    def _start_quantizer(self) -> None:
        """Cluster features of random samples for the first codebook, and fit the scales to it."""
        block = self.model.block
        K, n = len(block.codebook), len(self.inputs)
        if self.options.start == "random":
            return
        chance = generator(self.options.seed, STREAMS["start"])
        rows = torch.randperm(n, generator=chance)[: max(self.options.start_vectors, K)]
        features = self.model.encode_features(take(self.inputs, rows))
        one_base = np.zeros(block.levels, np.int64)
        start = least_squares.start(features, one_base, K, block.scale, self.options.seed)
        block.set_codebook(start.bases[0])
        block.set_scales(start.scales)
        _processes.share([block.codebook.data, block.log_scales.data], self.processes)

    def _report(self, bar: tqdm, losses: dict[str, float]) -> None:
        """Show and log what a step did, and what an evaluation finds after an epoch."""
        stage = self.schedule.stage(self.step - 1) + 1
        epoch = self.step / self.schedule.steps_per_epoch
        place = {"step": self.step, "epoch": epoch, "stage": stage, "seconds": round(self.seconds, 3)}
        bar.set_description(f"stage {stage}", refresh=False)
        bar.set_postfix(loss=losses["loss"], refresh=False)
        bar.update()
        if self.step % self.options.log_steps == 0 or self.step == self.schedule.steps:
            rate = self.schedule.network_rate(self.step - 1)
            self.log.write(**place, **losses, rate=rate, temperature=self.model.block.temperature)
        epoch_ends = self.step % self.schedule.steps_per_epoch == 0
        if self.after_epoch is not None and epoch_ends and self.processes.rank == 0:
            figures = self.after_epoch(self)
            if figures:
                self.log.write(**place, **figures)

    def _save(self) -> None:
        """Write a checkpoint, in the first process."""
        if self.checkpoint is None:
            return
        if self.processes.rank == 0:
            _files.save(self.checkpoint, FILE_KIND, FILE_VERSION, self._state())
        self.saved_step = self.step

    def _state(self) -> dict[str, Any]:
        return {
            "run": self._identity,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "scaler": self.scaler.state_dict(),
        }

    def _resume(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        state = _files.load(self.checkpoint, FILE_KIND, FILE_VERSION)
        mine, theirs = self._identity, state["run"]
        differing = [name for name in mine if mine[name] != theirs.get(name)]
        if differing:
            raise ValueError(
                f"{self.checkpoint}: got a checkpoint of another run, with other {', '.join(differing)}, "
                "expected the same, or another file"
            )
        self.model.load_state_dict(state["model"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.scaler.load_state_dict(state["scaler"])
        self.step = self.saved_step = state["step"]
        self.seconds = state["seconds"]

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What has to be equal for a resumed run to repeat an unbroken one."""
        options = {name: value for name, value in asdict(self.options).items() if not name.endswith("_steps")}
        options = {
            name: list(value) if isinstance(value, tuple) else value for name, value in options.items()
        }
        rows = torch.from_numpy(fingerprint.compared_rows(len(self.inputs)))
        return {
            **options,
            "model": self.model.config,
            "inputs": [list(self.inputs.shape), fingerprint.digest(take(self.inputs, rows).cpu().numpy())],
            "labels": fingerprint.digest(self.labels.cpu().numpy()),
            "word_vectors": fingerprint.digest(self.word_vectors.numpy()),
            "processes": self.processes.world,
        }

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.precision, enabled=self._mixed())

    def _mixed(self) -> bool:
        return self.options.mixed_precision and self.device.type == "cuda"

    def _distributed(self, model: DRQModel) -> nn.Module:
        if self.processes.world == 1:
            return model
        # Stage 1 uses no codebook, stage 2 no scales.
        return DistributedDataParallel(model, find_unused_parameters=True)

    def _losses(self) -> nn.ModuleDict:
        options = self.options
        triplet = TripletLoss if options.triplets == "explicit" else SemiHardTripletLoss
        return nn.ModuleDict(
            {
                "adaptive_margin": AdaptiveMarginLoss(self.word_vectors),
                "likelihood": LikelihoodLoss(self.word_vectors),
                "triplet": triplet(options.margin),
                "distortion": DistortionLoss(options.weights.hard, options.distortion_levels),
                "joint_central": JointCentralLoss(options.joint_levels),
            }
        ).to(self.device)

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        options = self.options
        network = self._network_groups()
        decay = {"lr": options.network_rate, "weight_decay": options.weight_decay}
        if options.optimizer == "momentum":
            first = torch.optim.SGD(network, momentum=0.9, **decay)
        else:
            first = torch.optim.AdamW(network, **decay)
        block = {"params": list(self.model.block.parameters()), "share": 1.0}
        return {"network": first, "quantizer": torch.optim.Adam([block], lr=options.quantizer_rate)}

    def _network_groups(self) -> list[dict[str, Any]]:
        """Return the weights that learn, with the share of the learning rate that each group has.

        Raises:
            ValueError: A rate is asked for of a backbone whose weights are all frozen.
        """
        groups = [{"params": list(self.model.head.parameters()), "share": 1.0}]
        backbone, share = self.model.backbone, self.options.backbone_rate
        layers = list(backbone.depths()) if hasattr(backbone, "depths") else [backbone]
        for layer in reversed(layers):
            weights = [weight for weight in layer.parameters() if weight.requires_grad]
            if weights:
                groups.append({"params": weights, "share": share})
            share *= self.options.depth_decay
        if len(groups) == 1 and (self.options.backbone_rate, self.options.depth_decay) != (1.0, 1.0):
            raise ValueError(
                f"backbone_rate, depth_decay: got {self.options.backbone_rate}, {self.options.depth_decay} "
                "for a backbone without weights that learn, expected 1, 1 or fewer frozen layers"
            )
        return groups

    def _require_batches(self) -> None:
        share, needed = self.schedule.batch_size // self.processes.world, 2 if self.sampler is None else 3
        if share < needed:
            raise ValueError(
                f"batch_size: got {self.schedule.batch_size} of {len(self.inputs)} samples for "
                f"{self.processes.world} processes, expected at least {needed} for each"
            )

    def _require_codewords(self, model: DRQModel) -> None:
        """Require enough samples for the k-means at the end of stage 1, before that is trained."""
        n, K = len(self.inputs), len(model.block.codebook)
        if self.options.start == "kmeans" and any(self.options.epochs[1:]) and n < K:
            raise ValueError(f"inputs: got {n} samples, expected at least the {K} codewords to cluster")


def _half_precision(device: torch.device) -> torch.dtype:
    """Return the type that the network computes in: float16 on GPUs that only emulate bfloat16."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def _has_gradients(optimizer: torch.optim.Optimizer) -> bool:
    return any(value.grad is not None for group in optimizer.param_groups for value in group["params"])


def _word_vectors(word_vectors: ArrayLike | None, word_features: int) -> Tensor:
    """Return word vectors (C, word_features); orthogonal ones for None."""
    if word_vectors is None:
        return torch.eye(word_features)
    vectors = torch.as_tensor(np.array(word_vectors, np.float32))
    if vectors.ndim != 2 or vectors.shape[1] != word_features:
        raise ValueError(
            f"word_vectors: got shape {tuple(vectors.shape)}, expected (classes, {word_features}), "
            "the model's word_features"
        )
    return vectors


def _require_pairs(labels: Tensor) -> None:
    """Raise ValueError if the samples have no positives or no negatives at all."""
    sizes = labels.sum(0)
    if sizes.max() < 2:
        raise ValueError("labels: got no two samples that share a label, expected positives")
    if labels.all(0).any():
        raise ValueError("labels: got samples that all share a label, expected negatives")
