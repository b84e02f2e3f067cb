"""Gradients averaged over the processes that train one run."""

from contextlib import nullcontext
from itertools import cycle

from torch import nn

from ganlib.parallel.ranks import world_size


class Losses(nn.Module):
    """A function of losses as a module that holds the networks it trains, which is what
    DistributedDataParallel can wrap."""

    def __init__(self, losses, trained):
        super().__init__()
        self.losses = losses
        self.trained = nn.ModuleList(trained)

    def forward(self, *args):
        return self.losses(*args)


def share(losses, trained, parts=1):
    """The function itself or, where several processes train, the same with the gradients of
    `trained` averaged over them, in the backward pass of the last of a batch's parts."""
    if world_size() == 1:
        return losses
    shared = nn.parallel.DistributedDataParallel(Losses(losses, trained))
    part = cycle(range(1, parts + 1))

    def call(*args):
        with nullcontext() if next(part) == parts else shared.no_sync():
            return shared(*args)

    return call
