"""The memory that a training step needs."""

from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def count_memory(nets, device, into):
    """Around the first training step: what training needs, in MiB, put into the list `into`. On
    a CPU counted, so that it depends on nothing else in the process: weights, gradients, Adam's
    two means, and the most that is kept at once for a backward pass."""
    weights = {p.untyped_storage().data_ptr(): p.nbytes for net in nets for p in net.parameters()}
    kept = Kept()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with (
        torch.autograd.graph.saved_tensors_hooks(
            lambda x: Held(x, kept, weights), lambda held: held.x
        )
        if device.type != "cuda"
        else nullcontext()
    ):
        yield
    into.append(
        round(torch.cuda.max_memory_allocated(device) / 2**20)
        if device.type == "cuda"
        else round((4 * sum(weights.values()) + kept.peak) / 2**20)
    )


class Kept:
    """Bytes that are kept for backward passes, now and at most."""

    def __init__(self):
        self.holders, self.now, self.peak = {}, 0, 0


class Held:
    """A tensor that is kept for a backward pass, counted while it is; several of one memory
    count once, weights not at all."""

    def __init__(self, x, kept, weights):
        self.x = x
        self.kept = kept
        self.at = x.untyped_storage().data_ptr()
        self.bytes = x.untyped_storage().nbytes()
        self.counts = self.at not in weights
        if self.counts:
            kept.holders[self.at] = kept.holders.get(self.at, 0) + 1
            if kept.holders[self.at] == 1:
                kept.now += self.bytes
                kept.peak = max(kept.peak, kept.now)

    def __del__(self):
        if self.counts:
            self.kept.holders[self.at] -= 1
            if self.kept.holders[self.at] == 0:
                self.kept.now -= self.bytes
