"""What a training costs: floating-point operations, memory, and the machine that it ran on."""

import platform
from contextlib import contextmanager, nullcontext

import torch
from torch.utils.flop_counter import FlopCounterMode

from ganlib.losses import discriminator_losses, generator_losses
from ganlib.nets import build_nets, set_trainable


def count_flops(cfg):
    """Floating-point operations, two for a multiply-add, of matrix products and convolutions: {"flops_per_image": one image
    through one generator, "flops_per_pair": a training step on one pair, forward and backward}. Counted, nothing computed."""
    meta = torch.device("meta")
    nets, pair = build_nets(cfg, meta), [torch.empty(1, 3, *cfg.image_size, device=meta) for _ in range(2)]
    with FlopCounterMode(display=False) as image, torch.no_grad():
        nets.g_ab.train()(pair[0])      # in eval mode attention takes a path that is not counted
    with FlopCounterMode(display=False) as step:
        set_trainable(nets[2:], False)
        g, fake_a, fake_b = generator_losses(nets, *pair, cfg)
        g["g"].backward()
        set_trainable(nets[2:], True)
        d = discriminator_losses(nets, *pair, fake_a.detach(), fake_b.detach())
        (d["d_a"] + d["d_b"]).backward()
    return {"flops_per_image": image.get_total_flops(), "flops_per_pair": step.get_total_flops()}


@contextmanager
def count_memory(nets, device, into):
    """Around the first training step: what training needs, in MiB, put into the list `into`. On a CPU counted, so that it depends on
    nothing else in the process: weights, gradients, Adam's two means, and what is kept for the backward pass."""
    weights, kept = {p.data_ptr(): p.nbytes for net in nets for p in net.parameters()}, {}

    def count(x):
        kept[x.data_ptr()] = max(kept.get(x.data_ptr(), 0), x.nbytes)
        return x

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x) if device.type != "cuda" else nullcontext():
        yield
    into.append(round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else
                round((4 * sum(weights.values()) + sum(n for at, n in kept.items() if at not in weights)) / 2**20))


def default_device():
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device):
    """The GPU's or processor's name, for the report."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        model = next(line for line in open("/proc/cpuinfo") if line.startswith("model name")).split(":", 1)[1].strip()
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.get_num_threads()} threads"
