"""The checkpoint of a run that is not finished: everything that its next step depends on, in one file of its folder."""

from pathlib import Path

import torch

from ganlib.files import InputError
from ganlib.nets import load_weights, pack_weights
from ganlib.runs import save

NAME = "checkpoint.pt"


def save_checkpoint(folder, step, nets, emas, opts, schedules, pools, best, tally, log_bytes):
    """Write the state after a step, whole or not at all. tally: what is counted over the run; log_bytes: length of the log so far."""
    save(Path(folder) / NAME, {
        "step": step, "weights": pack_weights(nets, emas), "optimizers": [opt.state_dict() for opt in opts],
        "schedules": [{"last_epoch": schedule.last_epoch, "_last_lr": [float(lr) for lr in schedule.get_last_lr()]} for schedule in schedules],
        "pools": [pool.state_dict() for pool in pools], "best": vars(best), "tally": tally, "log_bytes": log_bytes, "rng": torch.get_rng_state()})


def load_checkpoint(folder, device, nets, emas, opts, schedules, pools, best):
    """Put the checkpoint of a run folder into a run's parts; returns (step, tally, log_bytes), or (0, None, 0) where there is none."""
    path = Path(folder) / NAME
    if not path.exists():
        return 0, None, 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        load_weights(nets, emas, state["weights"])
        for opt, theirs in zip(opts, state["optimizers"]):
            rates = [(group["lr"], group["capturable"]) for group in opt.param_groups]     # a tensor on a GPU, a number on a CPU
            opt.load_state_dict(theirs)
            for group, (rate, capturable) in zip(opt.param_groups, rates):
                group["lr"] = rate.fill_(float(group["lr"])) if isinstance(rate, torch.Tensor) else float(group["lr"])
                group["capturable"] = capturable
        for schedule, theirs in zip(schedules, state["schedules"]):
            schedule.__dict__.update(theirs)
        for pool, theirs in zip(pools, state["pools"]):
            pool.load_state_dict(theirs)
        vars(best).update(state["best"])
        torch.set_rng_state(state["rng"].cpu())
        return state["step"], state["tally"], state["log_bytes"]
    except Exception as error:  # torch raises nearly anything for a file that is damaged
        raise InputError(f"{path}: not a checkpoint of this run ({' '.join(str(error).split())[:100]}); delete it to train from the start") from None


def describe_checkpoint(folder):
    """What a run that broke off can go on from, in words."""
    path = Path(folder) / NAME
    return f"resumed, it goes on from its last checkpoint, {path}" if path.exists() else "it had no checkpoint yet; start it again"
