"""The command: python -m ganlib.train CONFIG"""

import os
import signal
import sys

import click

from ganlib.system.command import FILE, call, run


@click.command(
    epilog="Several GPUs or machines: torchrun --nproc-per-node N [--nnodes M ...] -m "
    "ganlib.train CONFIG"
)
@click.argument("config", type=FILE)
def command(config):
    """Train one run, or go on with it where it was interrupted.

    CONFIG is a YAML file with `train` (fields of TrainConfig), `data` (parameters of load_domains)
    and, if you like, `init_from` (a run or a model file to start from), `folder`, `inception`,
    `accumulate`, `tensorboard: true` and `resume: false`."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        from ganlib.runs.train_job import train_job  # takes long to import

        return train_job(config)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def main(arguments=None):
    """python -m ganlib.train CONFIG: train the run that a YAML file describes; with torchrun, in
    several processes. Returns the exit status."""
    return run(command, "python -m ganlib.train", arguments)


def leave(status):
    """End the process; of several that train one run at once, since what is lost cannot be said
    goodbye to."""
    if status and "RANK" in os.environ:
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(call(main))
