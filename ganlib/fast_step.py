"""The training step as it is trained by; on a GPU the whole of it is one CUDA graph. `step` has
it plain."""

import torch
from torch.nn.utils import get_total_norm

from ganlib.losses import discriminator_losses, generator_losses
from ganlib.models.build import set_trainable
from ganlib.runs.log import GRADS


def train_step(
    nets,
    opts,
    pools,
    real_a,
    real_b,
    cfg,
    amp,
    losses=(generator_losses, discriminator_losses),
    parts=1,
):
    """One update of the generators and of the discriminators, on fakes from before it (Zhu et al.
    2017, section 4 and appendix 7.1).

    real_a, real_b: (B, 3, H, W) in [-1, 1]; amp: the context of the precision. parts: pieces of
    the batch that are computed one after another, their gradients added, which takes less
    memory. Returns detached losses and sizes of the gradients by name. `reference` has it plain."""
    opt_g, opt_d = opts
    told, fakes = [], []
    set_trainable(nets[2:], False)
    opt_g.zero_grad()
    for a, b in zip(real_a.chunk(parts), real_b.chunk(parts)):
        with amp:
            g, fake_a, fake_b = losses[0](nets, a, b, cfg)
        (g["g"] / parts).backward()
        told.append(g)
        fakes.append((fake_a.detach(), fake_b.detach()))

    set_trainable(nets[2:], True)
    old_a, old_b = [pool.swap(torch.cat(fake)) for pool, fake in zip(pools, zip(*fakes))]
    opt_d.zero_grad()
    for i, batch in enumerate(zip(*[x.chunk(parts) for x in (real_a, real_b, old_a, old_b)])):
        with amp:
            d = losses[1](nets, *batch)
        ((d["d_a"] + d["d_b"]) / parts).backward()
        told[i] |= d
    told = guard(
        opts, {name: sum(part[name].detach() for part in told) / parts for name in told[0]}
    )
    # Only now, as the fakes were made before: a step is taken as a whole or not at all
    opt_g.step()
    opt_d.step()
    return told


def guard(opts, losses):
    """Losses with the sizes of the gradients beside them. If any of these is not finite no
    optimizer steps, now and from then on: weights stay as they were before this step, on a GPU
    too, which the host does not wait for."""
    sizes = [
        get_total_norm(
            [p.grad for group in opt.param_groups for p in group["params"] if p.grad is not None]
        )
        for opt in opts
    ]
    told = losses | dict(zip(GRADS, sizes))
    opts[0].found_inf.add_(~torch.stack(list(told.values())).isfinite().all()).clamp_(max=1)
    return told


WARM = 3  # steps before the capture, on a stream of their own, as torch asks for


class CapturedStep:
    """A training step, step(real_a, real_b) -> losses, that a GPU replays as one graph from its
    fourth call on.

    Each call is one step, the warm-up and the capture too. Batches are of one shape; what else
    changes between steps (rates, draws of the pools) lies in tensors that are written in place.
    The losses are overwritten by the next call."""

    def __init__(self, step, device):
        self.step, self.device, self.calls, self.graph = step, device, 0, None
        self.side = torch.cuda.Stream(device)

    def __call__(self, real_a, real_b):
        with torch.cuda.device(self.device):  # graphs and streams are of the current one
            return self.advance(real_a, real_b)

    def advance(self, real_a, real_b):
        self.calls += 1
        if self.calls <= WARM:
            main = torch.cuda.current_stream()
            self.side.wait_stream(main)
            with torch.cuda.stream(self.side):
                losses = self.step(real_a, real_b)
            main.wait_stream(self.side)
            return losses
        if self.graph is None:
            self.real_a, self.real_b, graph = real_a.clone(), real_b.clone(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.side):  # computes nothing yet
                self.losses = self.step(self.real_a, self.real_b)
            self.graph = graph
        self.real_a.copy_(real_a)
        self.real_b.copy_(real_b)
        self.graph.replay()
        return self.losses
