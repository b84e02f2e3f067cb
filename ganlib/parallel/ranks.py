"""Several processes that train one run, started by torchrun or by `launch`: who I am, what is
shared, one writer.

Each has its part of every batch and all else alike: networks (torch's DistributedDataParallel
averages the gradients), running means, pools. So a run does not depend on how many there are,
but for rounding."""

import hashlib

import torch
import torch.distributed as dist

from ganlib.errors import InputError


def rank():
    """This process's number; 0 is the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    """How many processes train this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def my_part(images):
    """(B, ...) of all processes -> this one's (B / world_size, ...)."""
    return images.chunk(world_size())[rank()]


def gather_images(images):
    """(B, ...) of each process -> (B * world_size, ...) of all, in order of rank."""
    if world_size() == 1:
        return images
    parts = [
        torch.empty_like(images, memory_format=torch.contiguous_format) for _ in range(world_size())
    ]
    dist.all_gather(parts, images.contiguous())
    return torch.cat(parts)


def mean(values):
    """The mean over the processes of a tensor; in place."""
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def any_of(flag, device):
    """Whether a flag is set in any of the processes."""
    return (
        bool(flag)
        if world_size() == 1
        else float(mean(torch.tensor(float(bool(flag)), device=device))) > 0
    )


def agree(**values):
    """InputError unless every process has the same values."""
    for name, value in values.items():
        mine = torch.frombuffer(
            bytearray(hashlib.sha256(str(value).encode()).digest()), dtype=torch.uint8
        )
        mine = mine.cuda() if dist.is_initialized() and dist.get_backend() == "nccl" else mine
        if not torch.equal(gather_images(mine), mine.repeat(world_size())):
            raise InputError(
                f"{name}: differs between processes (process {rank()} has {str(value)[:100]}); "
                "expected the same data and the same run folder on every machine"
            )
