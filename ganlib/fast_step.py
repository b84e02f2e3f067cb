"""The training step as it is trained by; on a GPU the whole of it is one CUDA graph. `step` has
it plain, and a test holds the two equal."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.profiler import record_function

from ganlib.config import TrainConfig
from ganlib.losses import discriminator_losses, generator_losses
from ganlib.models.build import Nets, set_trainable
from ganlib.models.spectral import renew

WARM = 3  # steps before the capture, on a stream of their own, as torch asks for


class Passes(NamedTuple):
    """How a step computes: in which precision, by which functions of losses (where several
    processes train, ones that average the gradients), and in how many pieces of a batch, one
    after another, their gradients added, which takes less memory."""

    amp: object = nullcontext()
    generators: Callable = generator_losses
    discriminators: Callable = discriminator_losses
    parts: int = 1


def train_step(
    nets: Nets,
    opts: tuple,
    pools: tuple,
    batch: tuple[Tensor, Tensor],
    cfg: TrainConfig,
    passes: Passes = Passes(),
) -> dict[str, Tensor]:
    """One update of the generators and of the discriminators, on fakes from before it (Zhu et al.
    2017, section 4 and appendix 7.1).

    batch: (real_a, real_b), (B, 3, H, W) in [-1, 1]. Returns detached losses and the sizes of both
    gradients by name. Each phase has a name for torch's profiler.
    """
    opt_g, opt_d = opts
    parts = passes.parts
    told, fakes = [], []
    set_trainable(nets[2:], False)
    opt_g.zero_grad()
    for real_a, real_b in pieces(batch, parts):
        with record_function("generators forward"), passes.amp:
            g, fake_a, fake_b = passes.generators(nets, real_a, real_b, cfg)
        with record_function("generators backward"):
            (g["g"] / parts).backward()
        told.append(g)
        fakes.append((fake_a.detach(), fake_b.detach()))

    set_trainable(nets[2:], True)
    with record_function("pools"):
        fake_a, fake_b = [torch.cat(side) for side in zip(*fakes)]  # (B, 3, H, W)
        old_a = pools[0].swap(fake_a)
        old_b = pools[1].swap(fake_b)
    opt_d.zero_grad()
    for i, piece in enumerate(pieces((*batch, old_a, old_b), parts)):
        with record_function("discriminators forward"), passes.amp:
            d = passes.discriminators(nets, *piece)
        with record_function("discriminators backward"):
            ((d["d_a"] + d["d_b"]) / parts).backward()
        told[i] |= d

    with record_function("updates"):
        losses = guard(opts, mean_of(told))
        opt_g.step()  # only now: a step is taken as a whole or not at all
        opt_d.step()
        renew(nets[2:], unless=opts[0].found_inf)
    return losses


def pieces(batch: tuple, parts: int):
    """The same piece of each tensor of a batch, one after another."""
    return zip(*[images.chunk(parts) for images in batch])


def mean_of(told: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each loss over the pieces of a batch, detached."""
    means = {}
    for name in told[0]:
        means[name] = sum(losses[name].detach() for losses in told) / len(told)
    return means


def guard(opts: tuple, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses with the sizes of the gradients beside them. If any of these is not finite no
    optimizer steps, now and from then on: weights stay as they were before this step, on a GPU
    too, which the host does not wait for."""
    told = dict(losses)
    for name, opt in zip(("grad_g", "grad_d"), opts):
        weights = [p for group in opt.param_groups for p in group["params"]]
        told[name] = get_total_norm([p.grad for p in weights if p.grad is not None])
    all_finite = torch.stack(list(told.values())).isfinite().all()
    opts[0].found_inf.add_(~all_finite).clamp_(max=1)
    return told


class CapturedStep:
    """A training step, step(batch) -> losses, that a GPU replays as one graph from its fourth call
    on.

    Each call is one step, the warm-up and the capture too. Batches are of one shape; what else
    changes between steps (rates, draws of the pools) lies in tensors that are written in place.
    The losses are overwritten by the next call.
    """

    def __init__(self, step: Callable, device: torch.device):
        self.step = step
        self.device = device
        self.calls = 0
        self.graph = None
        self.side = torch.cuda.Stream(device)

    def __call__(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        with torch.cuda.device(self.device):  # graphs and streams are of the current one
            self.calls += 1
            if self.calls <= WARM:
                return self.warm_up(batch)
            if self.graph is None:
                self.capture(batch)
            for held, images in zip(self.batch, batch):
                held.copy_(images)
            self.graph.replay()
            return self.losses

    def warm_up(self, batch):
        """A step on the stream that is captured later."""
        main = torch.cuda.current_stream()
        self.side.wait_stream(main)
        with torch.cuda.stream(self.side):
            losses = self.step(batch)
        main.wait_stream(self.side)
        return losses

    def capture(self, batch):
        """Note what a step does; computes nothing yet."""
        self.batch = tuple(images.clone() for images in batch)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.side):
            self.losses = self.step(self.batch)
        self.graph = graph
