"""Several processes started, or joined, that train one run."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import yaml

from ganlib import PARENT
from ganlib.config import plain_config
from ganlib.errors import InputError
from ganlib.runs.checkpoint import describe_checkpoint
from ganlib.show.progress import FEED, Progress

LIBC = ctypes.CDLL(None)


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
    if data.loaded is None or data.changed:
        raise InputError(
            f"data {data.name}: each process reads the data itself, and does not see what was "
            "changed in memory; "
            "expected what load_domains gave, as it was"
        )
    if torch.cuda.is_available() and how.processes > torch.cuda.device_count():
        raise InputError(
            f"processes {how.processes}: there are {torch.cuda.device_count()} GPUs here; "
            "expected at "
            "most as many"
        )
    processes = how.processes
    job = {
        "train": plain_config(cfg),
        "data": data.loaded,
        "folder": str(Path(folder).resolve()),
        "accumulate": how.accumulate,
        "resume": how.resume,
    }
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work,
        Progress(
            f"{cfg.arch}, recipe {cfg.recipe}, {processes} processes", cfg.steps, folder
        ) as progress,
    ):
        path = Path(work) / "job.yaml"
        feed = Path(work) / "progress"
        said = Path(work) / "said"
        path.write_text(yaml.safe_dump(job, default_style='"'), encoding="utf-8")
        feed.touch()
        threads = max(1, (os.cpu_count() or 1) // processes)
        env = (
            {"OMP_NUM_THREADS": str(threads)}
            | os.environ
            | {FEED: str(feed), "PYTHONIOENCODING": "utf-8"}
        )
        with (
            open(said, "w", encoding="utf-8") as out,
            open(said, encoding="utf-8", errors="replace") as heard,
        ):
            ranks = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "torch.distributed.run",
                    "--standalone",
                    "--nproc-per-node",
                    str(processes),
                    "--log-dir",
                    work,
                    "-m",
                    "ganlib.train",
                    str(path),
                ],
                env=env,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            try:
                while ranks.poll() is None:
                    time.sleep(0.2)
                    pass_on(heard)
                    told = [
                        json.loads(line)
                        for line in feed.read_text(encoding="utf-8").splitlines(keepends=True)
                        if line.endswith("\n")
                    ]
                    # And not those of a probe
                    if steps := [update["step"] for update in told if update["folder"]]:
                        progress.update(steps[-1])
            finally:
                # They end with a checkpoint; torchrun waits for them half a minute at most
                if ranks.poll() is None:
                    ranks.terminate()
                while ranks.poll() is None:
                    with suppress(KeyboardInterrupt):
                        ranks.wait()
                pass_on(heard)
        lines = said.read_text(encoding="utf-8", errors="replace").splitlines()
    if ranks.returncode:
        told = next(
            (line.removeprefix("error: ") for line in lines if line.startswith("error: ")), None
        )
        raised = next(
            (line for line in reversed(lines) if "Error" in line.split(":")[0]), "it said nothing"
        )
        raise InputError(
            told
            or (
                f"{processes} processes: one of them was lost ({raised[:200]}); "
                f"{describe_checkpoint(folder)}"
            )
        )


def pass_on(heard):
    """Print the lines in a file of several processes' output that a user would have seen from
    one."""
    for line in heard:
        if line.startswith(("warning: ", "going on ", "stopped after ")):
            print(line, end="", flush=True)


def end_with_parent():
    """Have Linux send SIGTERM to this process when the one that started it has died."""
    LIBC.prctl(1, signal.SIGTERM)
