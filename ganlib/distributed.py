"""Several processes that train one run, started by torchrun or by `launch`: who I am, what is shared, one writer.

Each has its part of every batch and all else alike: networks (torch's DistributedDataParallel averages the gradients), running
means, pools. So a run does not depend on how many there are, but for rounding.
"""

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from datetime import timedelta
from itertools import cycle
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
import yaml

from ganlib import PARENT
from ganlib.config import plain_config
from ganlib.files import InputError
from ganlib.progress import FEED, Progress

LIBC = ctypes.CDLL(None)


def rank():
    """This process's number; 0 is the one that writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    """How many processes train this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def my_part(images):
    """(B, ...) of all processes -> this one's (B / world_size, ...)."""
    return images.chunk(world_size())[rank()]


def gather(images):
    """(B, ...) of each process -> (B * world_size, ...) of all, in order of rank."""
    if world_size() == 1:
        return images
    parts = [torch.empty_like(images, memory_format=torch.contiguous_format) for _ in range(world_size())]
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
    return bool(flag) if world_size() == 1 else float(mean(torch.tensor(float(bool(flag)), device=device))) > 0


def agree(**values):
    """InputError unless every process has the same values."""
    for name, value in values.items():
        mine = torch.frombuffer(bytearray(hashlib.sha256(str(value).encode()).digest()), dtype=torch.uint8)
        mine = mine.cuda() if dist.is_initialized() and dist.get_backend() == "nccl" else mine
        if not torch.equal(gather(mine), mine.repeat(world_size())):
            raise InputError(f"{name}: differs between processes (process {rank()} has {str(value)[:100]}); "
                             "expected the same data and the same run folder on every machine")


class Losses(nn.Module):
    """A function of losses as a module that holds the networks it trains, which is what DistributedDataParallel can wrap."""

    def __init__(self, losses, trained):
        super().__init__()
        self.losses, self.trained = losses, nn.ModuleList(trained)

    def forward(self, *args):
        return self.losses(*args)


def share(losses, trained, parts=1):
    """The function itself or, where several processes train, the same with the gradients of `trained` averaged over them, in the backward pass of
    the last of a batch's parts."""
    if world_size() == 1:
        return losses
    shared, part = nn.parallel.DistributedDataParallel(Losses(losses, trained)), cycle(range(1, parts + 1))

    def call(*args):
        with nullcontext() if next(part) == parts else shared.no_sync():
            return shared(*args)

    return call


def join_processes():
    """Join the processes that torchrun started, if it did; returns this one's device (None: the usual one)."""
    if "RANK" not in os.environ:
        return None
    local, device = int(os.environ["LOCAL_RANK"]), None
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise InputError(f"process {local}: there are {torch.cuda.device_count()} GPUs here; start as many processes on each machine")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    signal.signal(signal.SIGTERM, be_told)
    if "TORCHELASTIC_RUN_ID" in os.environ:     # torchrun, which else would leave it training when it is killed
        end_with_parent()
        if os.getppid() != PARENT:
            raise ProcessLost("torchrun has ended")
    dist.init_process_group("nccl" if device else "gloo", timeout=timedelta(days=1))    # the others wait while the first one scores
    return device


class ProcessLost(Exception):
    """torchrun ends this process, as it was told to, or as another one was lost."""


def be_told(*_):
    """What SIGTERM does: raise ProcessLost, so that this process can say so."""
    raise ProcessLost("ended by SIGTERM")


def launch(cfg, data, folder, processes, accumulate=1, resume=True):
    """Train cfg in this many processes on this machine, each with a GPU if there are any, as torchrun would; waits for the end.

    data: a Domains of load_domains; each process reads it again. Raises InputError with the line that a process ended with.
    """
    if data.loaded is None or data.changed:
        raise InputError(f"data {data.name}: each process reads the data itself, and does not see what was changed in memory; "
                         "expected what load_domains gave, as it was")
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise InputError(f"processes {processes}: there are {torch.cuda.device_count()} GPUs here; expected at most as many")
    from ganlib.checkpoint import describe_checkpoint       # which imports this module
    job = {"train": plain_config(cfg), "data": data.loaded,
           "folder": str(Path(folder).resolve()), "accumulate": accumulate, "resume": resume}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work, Progress(f"{cfg.arch}, recipe {cfg.recipe}, {processes} processes", cfg.steps, folder) as progress:
        path, feed, said = Path(work) / "job.yaml", Path(work) / "progress", Path(work) / "said"
        path.write_text(yaml.safe_dump(job, default_style='"'), encoding="utf-8")
        feed.touch()
        threads = max(1, (os.cpu_count() or 1) // processes)
        env = {"OMP_NUM_THREADS": str(threads)} | os.environ | {FEED: str(feed), "PYTHONIOENCODING": "utf-8"}
        with open(said, "w", encoding="utf-8") as out, open(said, encoding="utf-8", errors="replace") as heard:
            ranks = subprocess.Popen([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--log-dir", work,
                                      "-m", "ganlib.train", str(path)], env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=end_with_parent)
            try:
                while ranks.poll() is None:
                    time.sleep(0.2)
                    tell(heard)
                    told = [json.loads(line) for line in feed.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
                    if steps := [update["step"] for update in told if update["folder"]]:      # and not those of a probe
                        progress.update(steps[-1])
            finally:
                if ranks.poll() is None:    # they end with a checkpoint; torchrun waits for them half a minute at most
                    ranks.terminate()
                while ranks.poll() is None:
                    with suppress(KeyboardInterrupt):
                        ranks.wait()
                tell(heard)
        lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
    if ranks.returncode:
        told = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None)
        raised = next((line for line in reversed(lines) if "Error" in line.split(":")[0]), "it said nothing")
        raise InputError(told or f"{processes} processes: one of them was lost ({raised[:200]}); {describe_checkpoint(folder)}")


def tell(heard):
    """Print the lines in a file of several processes' output that a user would have seen from one."""
    for line in heard:
        if line.startswith(("warning: ", "going on ", "stopped after ")):
            print(line, end="", flush=True)


def end_with_parent():
    """Have Linux send SIGTERM to this process when the one that started it has died."""
    LIBC.prctl(1, signal.SIGTERM)
