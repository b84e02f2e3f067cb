"""The run that a YAML file describes, trained and scored; told in one line where that fails."""

import sys
from inspect import signature
from pathlib import Path

import torch.distributed as dist

from ganlib.config import Execution
from ganlib.data.domains import load_domains
from ganlib.errors import InputError, printable
from ganlib.lab.parameters import check_parameters
from ganlib.loop import fit
from ganlib.models.build import check_sizes
from ganlib.parallel.launch import ProcessLost, join_processes
from ganlib.parallel.ranks import rank, world_size
from ganlib.runs.checkpoint import describe_checkpoint
from ganlib.runs.job import read_job
from ganlib.show.progress import say
from ganlib.system.files import RUNS


def train_job(config):
    """Train the run of a YAML file, or go on with it; with torchrun, in several processes. Returns
    the exit status."""
    folder = None
    try:
        job = read_job(config)
        check_sizes(job["train"])
        device = join_processes()
        data = load_data(job["data"], config)
        folder = Path(job["folder"] or RUNS / job["train"].name(data.fingerprint))
        options = {name: job[name] for name in ("accumulate", "resume", "init_from", "tensorboard")}
        how = Execution(device, **options)
        run = fit(job["train"], data, folder, how, load_inception(job["inception"]))
        if run:
            speed = run.metrics["pairs_per_second"]
            print(f"{folder}: {speed} pairs/s; its scores are in metrics.json")
        return 0
    except (InputError, FloatingPointError) as error:
        return tell_error(error, 2)
    except BrokenPipeError:  # see system.command
        raise
    except OSError as error:
        return tell_error(f"{printable(error.filename or folder)[:300]}: {error.strerror}", 2)
    except (KeyboardInterrupt, ProcessLost) as error:
        if rank() == 0:  # the others do not know whether it has written the checkpoint yet
            tell_error(f"{str(error) or 'interrupted'}; {what_is_kept(folder)}")
        return 130 if isinstance(error, KeyboardInterrupt) else 143
    except RuntimeError as error:
        if world_size() == 1 or not is_of_a_lost_process(error):
            raise
        said = " ".join(str(error).split())[:120]
        return tell_error(
            f"a process of this training was lost; {what_is_kept(folder)} (process {rank()}: "
            f"{said})"
        )


def load_data(given, config):
    """The Domains of a job; InputError for what is no parameter of load_domains."""
    known = signature(load_domains).parameters
    for name in given:
        if name not in known:
            raise InputError(
                f"{config}: data: {printable(name)[:100]}: no such parameter; there are "
                f"{', '.join(known)}"
            )
    data = load_domains(**given | check_parameters(given))
    if rank() == 0 and len(data.skipped):
        say(f"{data.name}: {'; '.join(data.notes)}")
    return data


def load_inception(where):
    """The Inception of a job, or "" where it asks for none."""
    if not where:
        return where
    from ganlib.evaluate.inception import find_inception  # takes long to import

    return find_inception(where)


def what_is_kept(folder):
    """What a training that broke off can go on from, in words."""
    return describe_checkpoint(folder) if folder else "nothing was trained yet"


def is_of_a_lost_process(error):
    """Whether this is how torch tells that another process has gone."""
    words = "gloo", "NCCL", "onnection"
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def tell_error(text, status=1):
    """Say what went wrong in one line; returns the exit status."""
    print(f"error: {text}", file=sys.stderr, flush=True)
    return status
