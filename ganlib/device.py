"""The device that a run is computed on: its name, its precision, the layout of weights, and what
is said where its memory ends."""

import platform
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from ganlib.errors import InputError


@contextmanager
def out_of_memory(cfg, accumulate=1, processes=1):
    """Turn the error of a machine whose memory does not hold the step into an InputError that
    says what to set."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(
            error
        ):
            raise
        mine = cfg.batch_size // processes
        smaller = next((n for n in range(2 * accumulate, mine + 1) if mine % n == 0), None)
        advice = (
            f"set accumulate to {smaller}, which is the same training in less memory"
            if smaller
            else "take a smaller ngf, ndf or image_size"
        )
        raise InputError(
            f"out of memory: {cfg.arch} at {cfg.image_size[0]}x{cfg.image_size[1]}, ngf {cfg.ngf}, "
            f"{mine // accumulate} pairs at a time; {advice}"
        ) from None


def default_device():
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device):
    """The GPU's name, or the processor's and the number of torch's threads, for the report."""
    return chip_name(device) + (
        "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    )


def chip_name(device):
    """The GPU's or processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = open("/proc/cpuinfo", encoding="utf-8")
        return (
            next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def precision_context(precision, device):
    """Autocast to bfloat16, or nothing; "auto" takes bfloat16 where the processor or GPU
    computes it in hardware."""
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
    on = precision == "bfloat16"
    return (torch.autocast(device.type, dtype=torch.bfloat16) if on else nullcontext()), precision


def has_bfloat16(device):
    """True where bfloat16 products run in hardware; emulated they are slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def lay_out(nets, device):
    """Weights as the device's convolutions like them: channels_last on a GPU. On a CPU NCHW is
    as fast and its norm is faster."""
    if device.type == "cuda":
        for net in nets:
            net.to(memory_format=torch.channels_last)
    return nets
