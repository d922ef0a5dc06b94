"""One or several training processes, as torchrun starts them."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch import distributed


class Processes(NamedTuple):
    """The place of this process among all."""

    rank: int
    world: int
    device: torch.device


def join(device: str | torch.device | None) -> Processes:
    """Join the processes that torchrun started, or be the only one.

    Args:
        device: To compute on; None takes a CUDA device if there is one, every process its own.
    """
    world, local = (
        int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    if device is None:
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if world > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    joined = distributed.is_initialized()
    return Processes(
        distributed.get_rank() if joined else 0, distributed.get_world_size() if joined else 1, place
    )


def share(tensors: list[torch.Tensor], processes: Processes) -> None:
    """Give all processes the tensors of the first one."""
    if processes.world > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, 0)
