"""The supervised model: a backbone, two linear layers whose outputs are the feature, and the quantizer."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drqfaiss import _check
from drqfaiss._least_squares.polish import polish
from drqfaiss.quantizer import Quantizer
from drqfaiss.supervised import _files, backbones
from drqfaiss.supervised.block import Quantized, RecurrentQuantizer
from drqfaiss.supervised.losses import directions

FILE_KIND = "drqfaiss.DRQModel"
FILE_VERSION = 1
HEADS = ("parallel", "chained", "posterior")
HIDDEN_FEATURES = 212  # the authors' code
# Of cosines. The likelihood loss has 1/16: probabilities that are less certain than the network rank better.
POSTERIOR_TEMPERATURE = 0.1


class Output(NamedTuple):
    """What the model makes of n inputs."""

    features: Tensor  # (n, d): what is quantized and searched
    words: Tensor  # (n, word_features): compared with the word vectors
    quantized: Quantized | None  # of the features; None if no levels were asked for


class Head(nn.Module):
    """Makes features, and what is compared with word vectors, of what the backbone found.

    "parallel" and "chained" are the intermediate supervision: two linear layers, their outputs concatenated
    to the feature. Both lie on the backbone's output (the paper: 1748 and 300), or the second on top of the
    first after ReLU and dropout, compared after tanh (the code: 212 and 300).

    "posterior" makes the feature of the word output alone: a softmax over its cosines with the classes' word
    vectors. The inner product of two such features is the probability that both inputs are of one class, if
    they are independent, and that is what ranks best (Robertson, "The Probability Ranking Principle in IR",
    1977). What the class does not depend on is not in the feature, so that no level of a code is spent on it.

    Args:
        in_features: Width of the backbone's output.
        hidden_features: Width of the part that no word vectors supervise; 0 leaves it out (an ablation, and
            always so for "posterior").
        word_features: Width of the part that is compared with word vectors.
        kind: {"parallel", "chained", "posterior"}.
        normalize: Whether features are scaled to a root mean square of 1. Without it (paper and code)
            end-to-end training can lower the distortion by making features small. Probabilities stay as they
            are: they are small where the class is uncertain, and ought to be.
        classes: Of the "posterior" head.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        word_features: int,
        kind: str,
        normalize: bool,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.chained = kind == "chained" and hidden_features > 0
        self.normalize = normalize and kind != "posterior"
        self.hidden = nn.Linear(in_features, hidden_features) if hidden_features else None
        self.words = nn.Linear(hidden_features if self.chained else in_features, word_features)
        self.dropout = nn.Dropout(0.5)
        self.out_features = hidden_features + word_features
        if kind == "posterior":
            self.out_features = word_features if classes is None else classes
            self.register_buffer("directions", torch.eye(self.out_features, word_features))
        self.posterior = kind == "posterior"

    def set_word_vectors(self, word_vectors: Tensor) -> None:
        """Copy the word vectors (classes, w) that probabilities are of.

        Raises:
            ValueError: They are not as many as the head has classes, or one is zero or not finite.
        """
        if not self.posterior:
            return
        if word_vectors.shape != self.directions.shape:
            raise ValueError(
                f"word_vectors: got shape {tuple(word_vectors.shape)}, expected "
                f"{tuple(self.directions.shape)}, the classes and word_features of the model"
            )
        self.directions.copy_(directions(word_vectors))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, d) and the word outputs (n, word_features)."""
        hidden = x[:, :0] if self.hidden is None else self.hidden(x)
        words = self.words(self.dropout(hidden.relu()) if self.chained else x)
        if self.posterior:
            return self._probabilities(words.float()), words.float()
        features = torch.cat([hidden, words], 1).float()
        if self.normalize:
            features = self.scaled(features)
        return features, (words.tanh() if self.chained else words).float()

    def _probabilities(self, words: Tensor) -> Tensor:
        """Return those of the classes, scaled so that certainty has a root mean square of 1."""
        cosines = F.normalize(words) @ self.directions.T
        return (cosines / POSTERIOR_TEMPERATURE).softmax(1) * self.out_features**0.5

    def averaged(self, features: Tensor, others: Tensor) -> Tensor:
        """Return the features (n, d) of several views of the same inputs."""
        return self.scaled(features + others) if self.normalize else (features + others) / 2

    @staticmethod
    def scaled(features: Tensor) -> Tensor:
        """Return features (n, d) scaled to a root mean square of 1."""
        return F.normalize(features) * features.shape[1] ** 0.5


class DRQModel(nn.Module):
    """From images or embeddings to features and their codes.

    Args:
        backbone: "resnet", "convnet", "alexnet", "efficientnet-lite0", "mlp", "none" (see
            `supervised.backbones`), or a module of your own that returns (n, out_features) and has that
            attribute; it is passed to `load` again.
        backbone_options: Of a backbone named by a string, {"width": 64} for example.
        word_features: Width of the output that is compared with word vectors, their dimension.
        hidden_features: Width of the other output; features have d = hidden_features + word_features. None:
            212, but 0 for the "posterior" head, which has no other.
        head: {"parallel", "chained", "posterior"}, see `Head`. With "posterior" features are the classes'
            probabilities.
        classes: How many, for the "posterior" head; None: as many as word_features.
        normalize: Whether features are scaled to a root mean square of 1, see `Head`.
        mirrored: Whether the features of an image, when it is encoded, are the mean of its own and its mirror
            image's: twice the time.
        levels: Levels M of the full code.
        bits: Bits per level.
        **quantizer: Further options of the RecurrentQuantizer.

    Raises:
        TypeError, ValueError: Naming the argument and what was expected.
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        backbone_options: dict[str, Any] | None = None,
        *,
        word_features: int = 300,
        hidden_features: int | None = None,
        head: str = "parallel",
        classes: int | None = None,
        normalize: bool = True,
        mirrored: bool = False,
        levels: int = 4,
        bits: int = 8,
        **quantizer: Any,
    ) -> None:
        super().__init__()
        posterior = _check.one_of("head", head, HEADS) == "posterior"
        if hidden_features is None:
            hidden_features = 0 if posterior else HIDDEN_FEATURES
        if posterior and hidden_features:
            raise ValueError(f"hidden_features: got {hidden_features}, expected 0 for the posterior head")
        if classes is not None and not posterior:
            raise ValueError(f"classes: got {classes}, expected None: only the posterior head needs them")
        self.config = {
            "backbone": backbone if isinstance(backbone, str) else None,
            "backbone_options": dict(backbone_options or {}),
            "word_features": _check.integer("word_features", word_features, 1),
            "hidden_features": _check.integer("hidden_features", hidden_features, 0),
            "head": head,
            "classes": None if classes is None else _check.integer("classes", classes, 2),
            "normalize": normalize,
            "mirrored": mirrored,
            "levels": levels,
            "bits": bits,
            **quantizer,
        }
        if isinstance(backbone, str):
            backbone = backbones.build(backbone, self.config["backbone_options"])
        width = getattr(backbone, "out_features", None)
        if not isinstance(width, int):
            raise TypeError(
                "backbone: got one without an integer `out_features`, expected the width of what it returns"
            )
        self.backbone: nn.Module = backbone
        self.head = Head(width, hidden_features, word_features, head, normalize, classes)
        self.block = RecurrentQuantizer(self.head.out_features, levels, bits, **quantizer)

    @property
    def d(self) -> int:
        """Dimensions of the features."""
        return self.head.out_features

    def forward(self, inputs: Tensor, levels: int | None = None, detach: bool = False) -> Output:
        """Return features, word outputs and the features quantized at `levels` levels.

        Args:
            inputs: tensor (n, ...). What the backbone takes.
            levels: All if None; 0 quantizes nothing.
            detach: Whether to keep gradients of the quantization from the network (the authors' code).
        """
        features, words = self.head(self.backbone(inputs))
        if levels == 0:
            return Output(features, words, None)
        return Output(features, words, self.block(features.detach() if detach else features, levels))

    @torch.no_grad()
    def encode_features(
        self,
        inputs: np.ndarray | Tensor,
        batch_size: int = 256,
        progress: Callable[[range], Any] = iter,
    ) -> np.ndarray:
        """Return the features of images or embeddings as an index takes them.

        Args:
            inputs: array (n, ...). As in training, images for example (n, 3, height, width) uint8.
            batch_size: How many pass the network together.
            progress: Wraps the batches, `tqdm` for example.

        Returns:
            (n, d), float32
        """
        device = next(self.parameters()).device
        features = np.empty((len(inputs), self.d), np.float32)
        training = self.training
        self.eval()
        try:
            for i in progress(range(0, len(inputs), batch_size)):
                batch = take(inputs, slice(i, i + batch_size)).to(device)
                features[i : i + batch_size] = self._encoded(batch).cpu().numpy()
        finally:
            self.train(training)
        return features

    def _encoded(self, batch: Tensor) -> Tensor:
        features = self(batch, levels=0).features
        if not self.config["mirrored"]:
            return features
        return self.head.averaged(features, self(batch.flip(-1), levels=0).features)

    def quantizer(self) -> Quantizer:
        """Return codebook and scales as a Quantizer, which makes indexes: `quantizer.to_index(metric)`.

        Its codes with `beam=1` are those of the model's own block, unless two codewords are equally far up
        to rounding; a wider beam lowers the error.
        """
        return self.block.quantizer()

    def polish(self, inputs: np.ndarray | Tensor, **options: Any) -> None:
        """Improve codebook and scales by least squares on the features of inputs; see `polish.polish`."""
        features = self.encode_features(inputs)
        self.block.set_quantizer(polish(self.quantizer(), features, scale=self.block.scale, **options))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one file with what serving needs: the network and the quantizer."""
        state = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        config = {**self.config, "temperature": self.block.temperature}  # A Trainer changes it.
        _files.save(path, FILE_KIND, FILE_VERSION, {"config": config, "state": state})

    @classmethod
    def load(cls, path: str | os.PathLike[str], backbone: nn.Module | None = None) -> DRQModel:
        """Read what `save` wrote, ready to encode; a backbone of your own has to be given again.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no model file, is damaged, or belongs to another backbone.
        """
        content = _files.load(path, FILE_KIND, FILE_VERSION)
        config = dict(content["config"])
        if (config["backbone"] is None) != (backbone is not None):
            needed = "a backbone of its own" if config["backbone"] is None else "no backbone"
            raise ValueError(f"{path}: got a model that was saved with {needed}, expected the same here")
        options = config["backbone_options"]
        network = backbone or backbones.build(
            config["backbone"], backbones.unlearned(config["backbone"], options)
        )
        model = cls(**{**config, "backbone": network})
        model.config.update(backbone=config["backbone"], backbone_options=options)
        try:
            model.load_state_dict(content["state"])
        except RuntimeError as error:
            raise ValueError(f"{path}: weights do not fit the backbone ({error})") from error
        return model.eval()


def take(inputs: Any, rows: slice | Tensor) -> Tensor:
    """Return rows of an array or tensor as a tensor: floats as float32, copied from an array in a file."""
    if isinstance(inputs, Tensor):
        taken = inputs[rows.to(inputs.device) if isinstance(rows, Tensor) else rows]
        return taken.float() if taken.is_floating_point() else taken
    array = np.asarray(inputs[rows.cpu().numpy() if isinstance(rows, Tensor) else rows])
    return torch.from_numpy(np.array(array, np.float32 if array.dtype.kind == "f" else array.dtype))
