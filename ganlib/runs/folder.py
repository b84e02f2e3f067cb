"""The folder of a run: which files it has, whose it is, and whether its run is finished.

    config.json          the TrainConfig, and the fingerprint of the data
    metrics.jsonl        a line a step (losses, sizes of the gradients) and one a validation
                         (losses, KID, content distance, variety)
    weights.safetensors  networks and running means after the last step: g_ab.*, g_ba.*, d_a.*,
                         d_b.*, ema_ab.*, ema_ba.*
    best.safetensors     the same at the validation with the lowest KID
    metrics.json         test losses, scores with their protocols, cost, warnings
    strip.png            the same faces through the training

With Execution(tensorboard=True) also tensorboard/, event files. While it trains, .lock,
checkpoint-STEP.pt, metrics.jsonl.part and strip.png.part; failed-step-STEP.pt where a loss was not
finite.
"""

import json
from pathlib import Path

from ganlib.config import ADDED, TrainConfig, plain_config
from ganlib.errors import InputError, printable, shown
from ganlib.system.files import expand, write_atomic

LOG = "metrics.jsonl.part"  # the log of a run that is not finished
STRIP_PART = "strip.png.part"  # and its faces (show.strip)
EVENTS = "tensorboard"  # the folder of what TensorBoard shows of a run (runs.board)
# All that a run goes on from
TO_GO_ON = ("checkpoint-*.pt", "failed-step-*.pt", LOG, STRIP_PART)
MAGIC, CHECKPOINT_VERSION = "ganlib checkpoint", 1  # of the first line of a checkpoint


class Damaged(Exception):
    """What is wrong with a file of a run, in words."""


def claim_run_folder(folder, cfg, fingerprint):
    """Write config.json into a run folder, new or of the same config and data; else InputError
    shows the difference."""
    path = Path(folder) / "config.json"
    mine = plain_config(cfg) | {"data_fingerprint": fingerprint}
    if path.exists():
        try:
            theirs = read_json(path)
        except InputError:
            if not list(Path(folder).glob("checkpoint-*.pt")):  # which have the config too
                raise
        else:
            show_difference(f"run folder {folder}", theirs, mine)
            return  # as the folder may be one that is only read
    write_atomic(path, json.dumps(mine, indent=1))


def show_difference(name, theirs, mine):
    """Raise InputError unless two dicts, that of the file `name` and that of the run to train,
    are the same."""
    theirs = ADDED | theirs
    mine = ADDED | mine
    changed = [
        f"other images (data_fingerprint {str(theirs.get(key))[:8]} there, "
        f"{str(mine.get(key))[:8]} now)"
        if key == "data_fingerprint"
        else f"{printable(key)[:100]} {shown(theirs.get(key))} there, {shown(mine.get(key))} now"
        for key in sorted(mine.keys() | theirs.keys())
        if theirs.get(key) != mine.get(key)
    ]
    if changed:
        more = len(changed) == 1 and theirs.get("steps") != mine.get("steps")
        hint = "; to train a finished run on, name it as init_from (docs/use.md)" if more else ""
        raise InputError(
            f"{name} holds another config ({'; '.join(changed)}): choose another folder or delete "
            f"that one{hint}"
        )


def read_json(path):
    """The dict in a JSON file; InputError where there is none in it."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        raise InputError(
            f"{path}: not a JSON file of ganlib; delete its folder and train again"
        ) from None


def load_config(folder):
    """The TrainConfig that a run folder was trained with; InputError where there is none."""
    path = expand(folder, "run folder") / "config.json"
    if not path.parent.exists():
        raise InputError(
            f"run folder {folder}: no such folder; `ganlib runs` lists the runs that there are"
        )
    if not path.exists():
        raise InputError(
            f"run folder {folder}: no config.json in it; expected the folder of a run of ganlib"
        )
    values = read_json(path)
    values.pop("data_fingerprint", None)
    return TrainConfig.from_recipe(**(ADDED | values))


def is_newer(path, folder):
    """Whether a file of a folder with a finished run was written after it had been finished."""
    return path.stat().st_mtime > (folder / "weights.safetensors").stat().st_mtime


def is_begun_anew(folder):
    """Whether a finished run was being trained anew, which was interrupted: its checkpoints are
    newer then."""
    return any(is_newer(path, folder) for path in find_checkpoints(folder))


def clear(folder, checkpoints):
    """Take away what writers that were killed have left and, if asked, all that a run goes on
    from."""
    for pattern in (".*.part", *(TO_GO_ON if checkpoints else ())):
        for path in folder.glob(pattern):
            # The writer of a .NAME.PID.part
            if not Path("/proc", path.name.split(".")[-2]).exists():
                path.unlink(missing_ok=True)


WEIGHTS = {
    "ema": "running means of the weights, after the last step",
    "raw": "the weights as they are, after the last step",
    "best": "running means at the validation with the lowest KID",
}
FILES = ("weights.safetensors", "best.safetensors")


def save_weights(path, weights):
    """Write the dict of models.build.pack_weights to a safetensors file, which holds tensors
    alone and runs nothing when it is read."""
    from safetensors import torch as safetensors  # imports torch

    flat = {
        f"{net}.{key}": value.detach().cpu().contiguous()
        for net, state in weights.items()
        for key, value in state.items()
    }
    write_atomic(path, safetensors.save(flat, {"format": "pt"}))


def read_weights(path, device):
    """The dict of models.build.pack_weights in a file of save_weights."""
    from safetensors import torch as safetensors

    weights = {}
    for name, value in safetensors.load_file(path, device=str(device)).items():
        net, key = name.split(".", 1)
        if not value.is_floating_point() and key != "n_averaged":
            raise ValueError(f"{name} is of {value.dtype}")
        weights.setdefault(net, {})[key] = value
    return weights


def find_missing(folder):
    """The files that a folder lacks of those of a run that was trained to its end."""
    return [name for name in ("metrics.json", *FILES) if not (Path(folder) / name).exists()]


def is_finished(folder):
    """Whether a folder holds a run that was trained to its end (its scores may be missing)."""
    return not find_missing(folder)


def find_checkpoints(folder):
    """The checkpoints of a run folder, whole or not, the newest first."""
    return sorted(Path(folder).glob("checkpoint-*.pt"), reverse=True)


def check_head(head, length):
    """The checksum in the first line of a checkpoint, bytes, which so many bytes follow; Damaged
    says what is wrong."""
    words = head.decode("ascii", "replace").split()
    if len(words) != 5 or " ".join(words[:2]) != MAGIC:
        raise Damaged("not a checkpoint of ganlib" if head else "empty")
    if words[2] != str(CHECKPOINT_VERSION):
        raise Damaged(f"of version {words[2]}, and this ganlib reads version {CHECKPOINT_VERSION}")
    if str(length) != words[4]:
        raise Damaged(f"cut off: {length:,} bytes of {words[4]}")
    return words[3]
