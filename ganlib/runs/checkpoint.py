"""The checkpoints of a run that is not finished: each holds everything that the next step depends
on.

A file is a line, `ganlib checkpoint VERSION SHA256 BYTES`, and after it what torch.save writes,
read by weights_only. The last two are kept, so that there is another one where the last is
damaged; the best weights so far are in each of them."""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import torch

from ganlib.config import plain_config
from ganlib.errors import InputError
from ganlib.models.build import Nets, load_weights, pack_weights
from ganlib.parallel.ranks import rank
from ganlib.runs.folder import (
    CHECKPOINT_VERSION,
    LOG,
    MAGIC,
    Damaged,
    check_head,
    find_checkpoints,
    is_finished,
    show_difference,
)
from ganlib.system.files import write_atomic


class State(NamedTuple):
    """What the steps of a run change."""

    nets: Nets
    emas: list
    opts: list
    schedules: list
    pools: tuple
    best: object  # runs.best.Best


def save_checkpoint(folder, step, cfg, fingerprint, state, tally, log):
    """Write the State after a step, whole or not at all, and keep the one before it. tally: what
    is counted over the run; log: Log.state. FloatingPointError where a weight is not finite."""
    path = Path(folder) / f"checkpoint-{step:09}.pt"
    weights = pack_weights(state.nets, state.emas)
    check_finite(weights, step)
    write_state(
        path,
        {
            "step": step,
            "config": plain_config(cfg) | {"data_fingerprint": fingerprint},
            "weights": weights,
            "optimizers": [opt.state_dict() for opt in state.opts],
            "schedules": [pack_schedule(schedule) for schedule in state.schedules],
            "pools": [pool.state_dict() for pool in state.pools],
            "best": vars(state.best),
            "tally": tally,
            "log": log,
            **random_states(),
        },
    )
    others = [other for other in find_checkpoints(folder) if other != path]
    # newer: damaged ones, passed over
    for other in [other for other in others if other > path] + [
        other for other in others if other < path
    ][1:]:
        other.unlink()


def pack_schedule(schedule):
    """What a schedule changes, as plain numbers."""
    rates = [float(rate) for rate in schedule.get_last_lr()]
    return {"last_epoch": schedule.last_epoch, "_last_lr": rates}


def save_failure(folder, error, batch, cfg, state):
    """Keep what a look at a NotFinite needs, beside the last checkpoint, and have the error say
    where: its batch and the state, of a training step that before it (guard saw to that; running
    means and rates have gone on)."""
    path = Path(folder) / f"failed-step-{error.step:09}.pt"
    told = (
        f"its batch and the state {'before' if error.split == 'train' else 'after'} that step are "
        f"in {path} (ganlib.runs.checkpoint.read_state)"
    )
    try:
        if rank() == 0:
            write_state(
                path,
                {
                    "step": error.step,
                    "error": str(error),
                    "config": plain_config(cfg),
                    "real_a": batch[0],
                    "real_b": batch[1],
                    "weights": pack_weights(state.nets, state.emas),
                    "optimizers": [opt.state_dict() for opt in state.opts],
                },
            )
    except (InputError, OSError) as trouble:
        told = f"its batch and state could not be kept ({trouble})"
    error.args = (f"{error}; {told}",)


def check_finite(weights, step):
    """FloatingPointError names the first network with a weight that is not finite."""
    for name, state in weights.items():
        if not all(value.isfinite().all() for value in state.values()):
            raise FloatingPointError(
                f"step {step}: a weight of {name} is not finite; try lower rates lr_g and lr_d, or "
                "precision float32"
            )


def random_states():
    """Torch's random states; pools and batches have their own, which depend on the seed alone."""
    return {"rng": torch.get_rng_state()} | (
        {"rng_cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {}
    )


def write_state(path, state):
    """Write a dict of tensors and plain values under a line with its checksum."""
    content = io.BytesIO()
    torch.save(state, content)
    content = content.getbuffer()
    write_atomic(
        path,
        f"{MAGIC} {CHECKPOINT_VERSION} {hashlib.sha256(content).hexdigest()} {len(content)}\n",
        content,
    )


def read_state(path, device="cpu"):
    """The dict in a file of write_state; Damaged says what is wrong with it. Runs no code that
    is in it."""
    try:
        with open(path, "rb") as file:
            head = file.readline(200)
            content = file.read()
    except OSError as error:
        raise Damaged(f"cannot be read ({error.strerror})") from None
    digest = check_head(head, len(content))
    if hashlib.sha256(content).hexdigest() != digest:
        raise Damaged("damaged: its checksum is another one")
    try:
        return dict(torch.load(io.BytesIO(content), map_location=device, weights_only=True))
    except Exception as error:  # torch raises nearly anything
        raise Damaged(
            f"not a checkpoint that can be read safely ({' '.join(str(error).split())[:100]})"
        ) from None


def load_checkpoint(folder, device, cfg, fingerprint, state):
    """Put the newest whole checkpoint of a run folder, with a log as it knows it, into a run's
    State; returns (step, tally, bytes of the log), or (0, None, 0) where there is none. Says
    which are damaged, and where the run goes on. InputError where none is whole, and for another
    run's."""
    found = find_checkpoints(folder)
    say = print if rank() == 0 else lambda text: None
    for path in found:
        try:
            kept = read_state(path, device)
            check_log(folder, kept.get("log"))
            break
        except Damaged as error:
            say(
                f"warning: {path}: "
                f"{error}{'; the one before it is tried' if path != found[-1] else ''}"
            )
    else:
        if found:
            raise InputError(
                f"{found[0]}: of this run no checkpoint is left that is whole and has its log; put "
                f"back what was damaged ({LOG} belongs to it), or delete "
                f"{Path(folder) / 'checkpoint-*.pt'} to train from the start"
            )
        return 0, None, 0
    show_difference(
        path, kept.get("config", {}), plain_config(cfg) | {"data_fingerprint": fingerprint}
    )
    try:
        load_weights(state.nets, state.emas, kept["weights"])
        for opt, theirs in zip(state.opts, kept["optimizers"]):
            # A tensor on a GPU, a number on a CPU
            rates = [(group["lr"], group["capturable"]) for group in opt.param_groups]
            opt.load_state_dict(theirs)
            for group, (rate, capturable) in zip(opt.param_groups, rates):
                group["lr"] = (
                    rate.fill_(float(group["lr"]))
                    if isinstance(rate, torch.Tensor)
                    else float(group["lr"])
                )
                group["capturable"] = capturable
        for schedule, theirs in zip(state.schedules, kept["schedules"]):
            schedule.__dict__.update(theirs)
        for pool, theirs in zip(state.pools, kept["pools"]):
            pool.load_state_dict(theirs)
        vars(state.best).update(kept["best"])
        torch.set_rng_state(kept["rng"].cpu())
        if "rng_cuda" in kept and torch.device(device).type == "cuda":
            torch.cuda.set_rng_state(kept["rng_cuda"].cpu())
    except Exception as error:  # torch raises nearly anything
        raise InputError(
            f"{path}: not a checkpoint of this run ({' '.join(str(error).split())[:100]}); delete "
            "it to train from the start"
        ) from None
    say(f"going on from step {kept['step']} of {cfg.steps}, by {path.name}")
    return kept["step"], kept["tally"], kept["log"]["bytes"]


def check_log(folder, known):
    """Damaged unless the log of a run begins with what a checkpoint knows of it."""
    path = Path(folder) / LOG
    try:
        content = path.read_bytes()[: known["bytes"]]
    except (OSError, TypeError, KeyError):
        content = b""
    if not known or hashlib.sha256(content).hexdigest() != known.get("sha256"):
        raise Damaged(f"its log {LOG} is shorter than it was, or another one")


def describe_checkpoint(folder):
    """What a run that broke off can go on from, in words."""
    if found := find_checkpoints(folder):
        return f"started again, it goes on from its last checkpoint, {found[0]}"
    return (
        "it is trained to its end; started again, it is only scored"
        if is_finished(folder)
        else "it had no checkpoint yet; start it again"
    )
