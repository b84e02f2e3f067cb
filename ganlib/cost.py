"""What a training costs: floating-point operations, memory, and the machine that it ran on."""

import platform
from contextlib import suppress
from pathlib import Path

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


class PeakMemory:
    """Memory at most in use from here on, in MiB: `read` gives it. On a GPU what torch allocated on it; on a CPU what the
    process grew by (Linux; None where the kernel does not tell)."""

    def __init__(self, device):
        self.device, self.before = device, None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")   # the peak starts again from what is in use now
                self.before = resident("VmRSS")

    def read(self):
        """The peak so far, rounded, or None."""
        if self.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self.device) / 2**20)
        return None if self.before is None else round((resident("VmHWM") - self.before) / 1024)


def resident(field):
    """A field of /proc/self/status, in KiB."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))


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
