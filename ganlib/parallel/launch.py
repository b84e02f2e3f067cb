"""Several processes started, or joined, that train one run."""

import os
import signal
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from ganlib import PARENT
from ganlib.errors import InputError
from ganlib.parallel.child import Child, end_with_parent, write_job
from ganlib.show.progress import Progress


def join_processes():
    """Join the processes that torchrun started, if it did; returns this one's device (None: the
    usual one)."""
    if "RANK" not in os.environ:
        return None
    local = int(os.environ["LOCAL_RANK"])
    device = None
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise InputError(
                f"process {local}: there are {torch.cuda.device_count()} GPUs here; start as many "
                "processes on each machine"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    signal.signal(signal.SIGTERM, be_told)
    # torchrun, which else would leave it training when it is killed
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent()
        if os.getppid() != PARENT:
            raise ProcessLost("torchrun has ended")
    # The others wait while the first one scores
    dist.init_process_group("nccl" if device else "gloo", timeout=timedelta(days=1))
    return device


class ProcessLost(Exception):
    """torchrun ends this process, as it was told to, or as another one was lost."""


def be_told(*_):
    """What SIGTERM does: raise ProcessLost, so that this process can say so."""
    raise ProcessLost("ended by SIGTERM")


def launch(cfg, data, folder, how):
    """Train cfg in how.processes processes on this machine, each with a GPU if there are any, as
    torchrun would; waits for the end.

    data: a Domains of load_domains; each process reads it again. Raises InputError with the line
    that a process ended with."""
    job = write_job(cfg, data, folder, how)
    if torch.cuda.is_available() and how.processes > torch.cuda.device_count():
        raise InputError(
            f"processes {how.processes}: there are {torch.cuda.device_count()} GPUs here; expected "
            "at most as many"
        )
    threads = os.environ.get("OMP_NUM_THREADS")
    threads = threads or max(1, (os.cpu_count() or 1) // how.processes)
    label = f"{cfg.arch}, recipe {cfg.recipe}, {how.processes} processes"
    with Progress(label, cfg.steps, folder) as progress:
        with Child(job, threads, how.processes) as child:
            while child.is_running():
                time.sleep(0.2)
                child.pass_on()
                step = child.find_step()
                if step is not None:
                    progress.update(step)
    child.check()
