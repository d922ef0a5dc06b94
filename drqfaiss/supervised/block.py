"""The recurrent quantization block: one codebook, applied level by level to what is left over.

Song et al., "Deep Recurrent Quantization for Generating Sequential Binary Codes", IJCAI 2019. With a codebook
C (K, d), scales s_0 = 1, s_1 … s_{M-1} and r_0 = x, at level m:

    C_m = s_m C              the codebook is scaled, never the residual
    p_m = softmax_k(similarity(r_m, C_m[k]) / T),  soft_m = Σ_k p_mk C_m[k]
    b_m = argmax_k similarity(r_m, C_m[k]),        hard_m = C_m[b_m]
    r_{m+1} = r_m − hard_m
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from drqfaiss import _check
from drqfaiss._least_squares.options import SCALES
from drqfaiss.quantizer import Quantizer

SIMILARITIES = ("l2", "cosine")
FIRST_RATIO = 0.5  # Of the scales of two successive levels, until scales are fitted.


class Quantized(NamedTuple):
    """What the block makes of n vectors at L levels; entry m of the sums is the prefix of m + 1 levels."""

    soft: Tensor  # (L, n, d): sums of the soft codewords
    hard: Tensor  # (L, n, d): sums of the codewords, the reconstructions
    codes: Tensor  # (n, L) int64


class RecurrentQuantizer(nn.Module):
    """Quantizes vectors (n, d) with one codebook (K, d) and a scale per level.

    Args:
        d: Dimensions.
        levels: Levels M of the full code.
        bits: Bits per level; the codebook has K = 2**bits codewords.
        scale: {"level", "geometric", "vector"}. A scale per level (the authors' code), one ratio s with
            s_m = s^m (the paper), or a scale per level and dimension. All are positive, because they are
            learned as logarithms: search needs that.
        similarity: {"l2", "cosine"}. The negative squared distance, in units of the level's mean squared
            codeword (the paper: closeness), or the cosine (the authors' code). Codes of an index are
            always chosen by distance, so only "l2" trains with the codes that search will use.
        temperature: T of the softmax. The authors' code has 1, with which the softmax over 256 cosines is
            almost uniform. May be changed at any time; a Trainer anneals it.
        straight_through: Whether soft codewords take the value of the hard ones and keep their own gradient.

    Raises:
        TypeError, ValueError: Naming the argument and what was expected.
    """

    def __init__(
        self,
        d: int,
        levels: int,
        bits: int = 8,
        *,
        scale: str = "level",
        similarity: str = "l2",
        temperature: float = 0.1,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        self.d, self.levels = _check.integer("d", d, 1), _check.integer("levels", levels, 1)
        self.bits = _check.integer("bits", bits, 1, 16)
        self.scale = _check.one_of("scale", scale, SCALES)
        self.similarity = _check.one_of("similarity", similarity, SIMILARITIES)
        self.temperature = _check.number("temperature", temperature)
        if self.temperature <= 0:
            raise ValueError(f"temperature: got {temperature}, expected more than 0")
        self.straight_through = straight_through
        self.codebook = nn.Parameter(torch.randn(2**self.bits, self.d))
        shape = {"geometric": (1,), "level": (self.levels - 1,), "vector": (self.levels - 1, self.d)}[scale]
        self.log_scales = nn.Parameter(torch.zeros(shape))
        self.set_scales(FIRST_RATIO ** np.arange(self.levels))

    def scales(self) -> Tensor:
        """Return the scales, (M, 1) or (M, d); the first is 1."""
        if self.scale == "geometric":
            powers = torch.arange(self.levels, device=self.log_scales.device)
            return (powers * self.log_scales).exp()[:, None]
        later = self.log_scales if self.scale == "vector" else self.log_scales[:, None]
        return torch.cat([torch.zeros_like(self.codebook[:1, : later.shape[1]]), later]).exp()

    def codebooks(self) -> Tensor:
        """Return the codebook of every level, (M, K, d)."""
        return self.scales()[:, None] * self.codebook

    def forward(self, x: Tensor, levels: int | None = None) -> Quantized:
        """Quantize x (n, d) at the first `levels` levels; all if None. Always in the codebook's precision."""
        levels = self.levels if levels is None else _check.integer("levels", levels, 1, self.levels)
        with torch.autocast(x.device.type, enabled=False):
            residual = x.to(self.codebook.dtype)
            soft, hard, codes = [], [], []
            for codebook in self.codebooks()[:levels]:
                closeness = self._closeness(residual, codebook)
                codes.append(closeness.argmax(1))
                hard.append(F.embedding(codes[-1], codebook))
                soft.append(self._soft(closeness, codebook, hard[-1]))
                residual = residual - hard[-1]
            return Quantized(torch.stack(soft).cumsum(0), torch.stack(hard).cumsum(0), torch.stack(codes, 1))

    def _closeness(self, residual: Tensor, codebook: Tensor) -> Tensor:
        if self.similarity == "cosine":
            return F.normalize(residual) @ F.normalize(codebook).T
        norms = codebook.square().sum(1)
        # ‖r‖² is left out: it is the same for every k.
        return (2 * residual @ codebook.T - norms) / norms.mean().detach()

    def _soft(self, closeness: Tensor, codebook: Tensor, hard: Tensor) -> Tensor:
        soft = (closeness / self.temperature).softmax(1) @ codebook
        return soft + (hard - soft).detach() if self.straight_through else soft

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (n, M) int64 of x (n, d), each level's codeword chosen greedily."""
        return self(x).codes

    @torch.no_grad()
    def set_codebook(self, codebook: ArrayLike) -> None:
        """Copy a codebook (K, d)."""
        codebook = _check.floats("codebook", codebook, 2)
        if codebook.shape != self.codebook.shape:
            raise ValueError(f"codebook: got {codebook.shape}, expected {tuple(self.codebook.shape)}")
        self.codebook.copy_(torch.tensor(codebook))

    @torch.no_grad()
    def set_scales(self, scales: ArrayLike) -> None:
        """Copy positive scales (M,), (M, 1) or, per dimension, (M, d); the first has to be 1."""
        scales = np.asarray(scales, np.float32)
        scales = scales[:, None] if scales.ndim == 1 else scales
        if len(scales) != self.levels or not (scales > 0).all() or not np.allclose(scales[0], 1):
            raise ValueError(
                f"scales: got {_check.shown(scales)}, expected {self.levels} positive ones, first 1"
            )
        logarithms = torch.from_numpy(np.log(scales))[1:]
        if self.scale == "geometric":
            powers = torch.arange(1.0, self.levels)
            self.log_scales.copy_(logarithms[:, 0] @ powers / max(float(powers @ powers), 1.0))
        else:
            self.log_scales.copy_(logarithms if self.scale == "vector" else logarithms[:, 0])

    def set_quantizer(self, quantizer: Quantizer) -> None:
        """Take over codebook and scales of a quantizer without mean or rotation, a polished one for example.

        Raises:
            ValueError: It has a mean or a rotation, or other sizes.
        """
        if quantizer.mean.any() or quantizer.rotation is not None:
            raise ValueError("quantizer: got one with a mean or a rotation, expected neither")
        self.set_codebook(quantizer.codebook)
        self.set_scales(quantizer.scales)

    @torch.no_grad()
    def quantizer(self) -> Quantizer:
        """Return codebook and scales as a Quantizer, which needs no PyTorch."""
        scales = self.scales() if self.scale == "vector" else self.scales()[:, 0]
        return Quantizer(self.codebook.float().cpu().numpy(), scales.float().cpu().numpy())
