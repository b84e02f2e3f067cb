"""The device that a run is computed on: its name, its precision, the layout of weights, and what
is said where its memory ends."""

import platform
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from ganlib.config import TrainConfig
from ganlib.errors import InputError
from ganlib.models.build import Nets


@contextmanager
def out_of_memory(cfg: TrainConfig, accumulate: int = 1, processes: int = 1):
    """Turn the error of a machine whose memory does not hold the step into an InputError that
    says what to set."""
    try:
        yield
    except RuntimeError as error:
        no_room = "can't allocate memory" in str(error)
        if not isinstance(error, torch.OutOfMemoryError) and not no_room:
            raise
        mine = cfg.batch_size // processes
        advice = "take a smaller ngf, ndf or image_size"
        for n in range(2 * accumulate, mine + 1):
            if mine % n == 0:
                advice = f"set accumulate to {n}, which is the same training in less memory"
                break
        height, width = cfg.image_size
        raise InputError(
            f"out of memory: {cfg.arch} at {height}x{width}, ngf {cfg.ngf}, {mine // accumulate} "
            f"pairs at a time; {advice}"
        ) from None


def default_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_device(name: str | None) -> torch.device:
    """The device of a name that --device gave, or the default one. InputError for one that is not
    there."""
    try:
        device = torch.device(name) if name else default_device()
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"--device {name}: {str(error).splitlines()[0]}; expected cpu, or cuda where there is "
            "a GPU"
        ) from None
    return device


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's and the number of torch's threads, for the report."""
    if device.type == "cuda":
        return chip_name(device)
    threads = torch.get_num_threads()
    return f"{chip_name(device)}, {threads} thread{'s' if threads > 1 else ''}"


def chip_name(device: torch.device) -> str:
    """The GPU's or processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def precision_context(precision: str, device: torch.device) -> tuple:
    """Autocast to bfloat16, or nothing; "auto" takes bfloat16 where the processor or GPU
    computes it in hardware. Returns the context and the precision's name."""
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16), precision
    return nullcontext(), precision


def has_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 products run in hardware; emulated they are slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def lay_out(nets: Nets, device: torch.device, precision: str) -> Nets:
    """Weights as the device's convolutions like them: on a GPU channels_last for bfloat16; in
    float32 NCHW, which at ngf 16 trains 1.5 times as fast there (docs/speed.md). On a CPU NCHW is
    as fast and its norm is faster."""
    if device.type == "cuda" and precision == "bfloat16":
        for net in nets:
            net.to(memory_format=torch.channels_last)
    return nets
