"""What a training costs: floating-point operations, memory, and the machine that it ran on."""

import platform
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ganlib.files import InputError
from ganlib.losses import discriminator_losses, generator_losses, weighed
from ganlib.models.vit import ViTBlock
from ganlib.nets import build_nets, set_trainable


def count_flops(cfg):
    """Floating-point operations, two for a multiply-add, of matrix products and convolutions: {"flops_per_image": one image
    through one generator, "flops_per_pair": a training step on one pair, forward and backward}. Counted, nothing computed."""
    meta = torch.device("meta")
    nets, pair = build_nets(cfg, meta), [torch.empty(1, 3, *cfg.image_size, device=meta) for _ in range(2)]
    with FlopCounterMode(display=False) as image, torch.no_grad():
        nets.g_ab.train()(pair[0])      # in eval mode attention takes a path that is not counted
    with FlopCounterMode(display=False) as step:
        pass_through(nets, *pair, cfg)
    return {"flops_per_image": image.get_total_flops(), "flops_per_pair": step.get_total_flops()}


def pass_through(nets, real_a, real_b, cfg):
    """Forward and backward of a training step, without updates or pools: for what is counted on shapes."""
    set_trainable(nets[2:], False)
    g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
    g["g"].backward()
    set_trainable(nets[2:], True)
    d = discriminator_losses(nets, real_a, real_b, fake_a.detach(), fake_b.detach())
    (d["d_a"] + d["d_b"]).backward()


def formula_flops(cfg):
    """The same two figures from the sizes of the layers: 2 k^2 c_in c_out h w for a convolution, 2 in out for a linear layer on a token,
    4 L^2 F for attention over L tokens. A step is 6 generator passes (2 there, and 2 back and 2 identities where these have a weight) and
    6 of a discriminator (2 on fakes for the generators, 2 on real images, 2 on fakes for itself); backward costs twice the forward
    pass, of discriminators in the generators' step once, as their weights are frozen then; the first convolution of a pass on images
    that nothing is learned of needs no gradient of its input."""
    nets, image = build_nets(cfg, torch.device("meta")), torch.empty(1, 3, *cfg.image_size, device="meta")
    g, d = [forward_flops(net, image) for net in (nets.g_ab, nets.d_a)]
    with_cycle, with_idt = weighed(cfg)
    on_real, on_fake = 2 + 2 * with_idt, 2 * with_cycle
    step = (on_real + on_fake) * 3 * sum(g) - on_real * g[0] + (2 * 2 + 4 * 3) * sum(d) - 4 * d[0]
    return {"flops_per_image": sum(g), "flops_per_pair": step}


def forward_flops(net, image):
    """Operations of each layer of a network, in the order in which an image passes."""
    found = []

    def count(module, inputs, output):
        if isinstance(module, nn.ConvTranspose2d):
            found.append(2 * module.weight.numel() * inputs[0].shape[-2:].numel())
        elif isinstance(module, nn.Conv2d):
            found.append(2 * module.weight.numel() * output.shape[-2:].numel())
        elif isinstance(module, nn.Linear):
            found.append(2 * module.weight.numel() * output[..., 0].numel())
        elif isinstance(module, ViTBlock):      # its attention calls no module: the three projections, the two products
            length, features = output.shape[-2:]
            found.append(2 * module.attention.in_proj_weight.numel() * length + 4 * length**2 * features)

    hooks = [module.register_forward_hook(count) for module in net.modules()]
    with torch.no_grad():
        net(image)
    for hook in hooks:
        hook.remove()
    return found


@contextmanager
def count_memory(nets, device, into):
    """Around the first training step: what training needs, in MiB, put into the list `into`. On a CPU counted, so that it depends on
    nothing else in the process: weights, gradients, Adam's two means, and the most that is kept at once for a backward pass."""
    weights, kept = {p.untyped_storage().data_ptr(): p.nbytes for net in nets for p in net.parameters()}, Kept()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: Held(x, kept, weights), lambda held: held.x) if device.type != "cuda" else nullcontext():
        yield
    into.append(round(torch.cuda.max_memory_allocated(device) / 2**20) if device.type == "cuda" else
                round((4 * sum(weights.values()) + kept.peak) / 2**20))


class Kept:
    """Bytes that are kept for backward passes, now and at most."""

    def __init__(self):
        self.holders, self.now, self.peak = {}, 0, 0


class Held:
    """A tensor that is kept for a backward pass, counted while it is; several of one memory count once, weights not at all."""

    def __init__(self, x, kept, weights):
        self.x, self.kept, self.at, self.bytes = x, kept, x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()
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


@contextmanager
def out_of_memory(cfg, accumulate=1, processes=1):
    """Turn the error of a machine whose memory does not hold the step into an InputError that says what to set."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        mine = cfg.batch_size // processes
        smaller = next((n for n in range(2 * accumulate, mine + 1) if mine % n == 0), None)
        advice = f"set accumulate to {smaller}, which is the same training in less memory" if smaller else "take a smaller ngf, ndf or image_size"
        raise InputError(f"out of memory: {cfg.arch} at {cfg.image_size[0]}x{cfg.image_size[1]}, ngf {cfg.ngf}, "
                         f"{mine // accumulate} pairs at a time; {advice}") from None


def default_device():
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device):
    """The GPU's name, or the processor's and the number of torch's threads, for the report."""
    return chip_name(device) + ("" if device.type == "cuda" else f", {torch.get_num_threads()} threads")


def chip_name(device):
    """The GPU's or processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = open("/proc/cpuinfo", encoding="utf-8")
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
