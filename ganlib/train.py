"""The command: python -m ganlib.train CONFIG"""

import argparse
import os
import signal
import sys
from inspect import signature
from pathlib import Path

import torch.distributed as dist

from ganlib.data.domains import load_domains
from ganlib.errors import InputError, printable
from ganlib.lab.parameters import check_parameters
from ganlib.loop import fit
from ganlib.parallel.launch import ProcessLost, join_processes
from ganlib.parallel.ranks import rank, world_size
from ganlib.runs.checkpoint import describe_checkpoint
from ganlib.runs.job import read_job
from ganlib.show.progress import say
from ganlib.system.command import call
from ganlib.system.files import RUNS


def main(arguments=None):
    """python -m ganlib.train CONFIG: train the run that a YAML file describes; with torchrun, in
    several processes."""
    parser = argparse.ArgumentParser(
        prog="python -m ganlib.train",
        description="Train one run, or go on with it where it was interrupted.",
        epilog=(
            "Several GPUs or machines: torchrun --nproc-per-node N [--nnodes M ...] -m "
            "ganlib.train CONFIG"
        ),
    )
    parser.add_argument(
        "config",
        help="YAML with `train` (fields of TrainConfig), `data` (parameters of load_domains) and, "
        "if you like, `folder`, `inception`, `accumulate` and `resume: false`",
    )
    options = parser.parse_args(arguments)
    from ganlib.evaluate.inception import find_inception  # takes long to import

    folder = None
    try:
        job = read_job(options.config)
        device = join_processes()
        if unknown := [
            name for name in job["data"] if name not in signature(load_domains).parameters
        ]:
            known = ", ".join(signature(load_domains).parameters)
            raise InputError(
                f"{options.config}: data: {printable(unknown[0])[:100]}: no such parameter; there "
                f"are {known}"
            )
        data = load_domains(**job["data"] | check_parameters(job["data"]))
        if rank() == 0 and len(data.skipped):
            say(f"{data.name}: {'; '.join(data.notes)}")
        folder = Path(job["folder"] or RUNS / job["train"].name(data.fingerprint))
        run = fit(
            job["train"],
            data,
            folder,
            device,
            job["inception"] and find_inception(job["inception"]),
            job["resume"],
            accumulate=job["accumulate"],
        )
        if run:
            print(
                f"{folder}: {run.metrics['pairs_per_second']} pairs/s; its scores are in "
                "metrics.json"
            )
        return 0
    except (InputError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except BrokenPipeError:  # see call
        raise
    except OSError as error:
        print(
            f"error: {printable(error.filename or folder)[:300]}: {error.strerror}",
            file=sys.stderr,
            flush=True,
        )
        return 2
    except (KeyboardInterrupt, ProcessLost) as error:
        if rank() == 0:  # the others do not know whether it has written the checkpoint yet
            print(
                f"error: {error if str(error) else 'interrupted'}; "
                f"{describe_checkpoint(folder) if folder else 'nothing was trained yet'}",
                file=sys.stderr,
                flush=True,
            )
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or any(
            word in str(error) for word in ("gloo", "NCCL", "onnection")
        )
        if world_size() == 1 or not lost:
            raise
        print(
            "error: a process of this training was lost; "
            f"{describe_checkpoint(folder) if folder else 'nothing was trained yet'} "
            f"(process {rank()}: {' '.join(str(error).split())[:120]})",
            file=sys.stderr,
            flush=True,
        )
        return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    status = call(main)
    # What is lost cannot be said goodbye to
    os._exit(status) if status and world_size() > 1 else sys.exit(status)
