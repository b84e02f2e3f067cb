"""Runs that are kept in the repository: of each the scores, costs and a thinned log and, of one
seed a model, the generators that are used, in half precision.

    python -m ganlib.runs.kept reports/runs/NAME ...

They lie in reports/study/runs, a folder each as a run's, by the same names: config.json,
metrics.json, metrics.jsonl, strip.png and, where the seed is 0, means.safetensors. A comparison
takes a run that lies there and does not train it (parallel.many_runs).
"""

import json
import shutil
import sys
from pathlib import Path

import click

from ganlib.errors import InputError, printable
from ganlib.runs.folder import find_missing, load_config, read_json
from ganlib.system.command import FOLDER, call, run
from ganlib.system.files import SETTINGS, expand, write_atomic

KEPT = SETTINGS / "study" / "runs"
MEANS = "means.safetensors"
LINES = 400  # of steps in a thinned log, about


def find_kept(cfg, fingerprint):
    """The folder of the kept run of a config and data set, or None; also, with a word, where it was
    scored by another version of the scores: it cannot be scored anew."""
    from ganlib.evaluate.scores import PROTOCOL_VERSION  # imports torch, as others below

    folder = KEPT / cfg.name(fingerprint)
    if not is_kept(folder):
        return None
    protocols = read_json(folder / "metrics.json")["protocols"]
    versions = {protocol.get("version") for protocol in protocols.values()}
    if versions != {PROTOCOL_VERSION}:
        print(f"{folder}: scored by another version of the scores, so it is not taken")
        return None
    return folder


def is_kept(folder):
    """Whether a folder holds a run as keep leaves it, and not a whole one."""
    path = Path(folder) / "metrics.json"
    return path.exists() and read_json(path).get("kept", False)


def find_models(image_size):
    """The folders of all kept runs of images of a size, (height, width), whose weights are kept."""
    found = []
    for path in sorted(KEPT.glob(f"*/{MEANS}")):
        if is_kept(path.parent) and load_config(path.parent).image_size == tuple(image_size):
            found.append(path.parent)
    return found


def keep(folder, into=KEPT):
    """Keep a finished run in a folder of its name below `into`; returns that folder. InputError for
    a run that did not finish or has no scores. metrics.json comes last: without it nothing is
    kept."""
    folder = expand(folder, "run folder")
    cfg = load_config(folder)
    if lost := find_missing(folder):
        raise InputError(
            f"run folder {folder}: no {' and no '.join(lost)} in it, so the run did not finish; "
            "train it to its end"
        )
    metrics = read_json(folder / "metrics.json")
    if "scores" not in metrics:
        raise InputError(
            f"run folder {folder}: no scores in its metrics.json; start its training again, which "
            "then only scores it"
        )
    config = read_json(folder / "config.json")
    kept = expand(into, "--into") / cfg.name(config["data_fingerprint"])
    if kept.resolve() == folder.resolve():
        raise InputError(f"--into {into}: the run itself lies there; choose another folder")
    (kept / "metrics.json").unlink(missing_ok=True)
    write_atomic(kept / "config.json", json.dumps(config, indent=1))
    write_atomic(kept / "metrics.jsonl", thin(folder / "metrics.jsonl", cfg.idt_every))
    if (folder / "strip.png").exists():
        shutil.copyfile(folder / "strip.png", kept / "strip.png")
    if cfg.seed == 0:
        write_atomic(kept / MEANS, pack_means(folder))
    write_atomic(kept / "metrics.json", json.dumps(metrics | {"kept": True}, indent=1))
    return kept


def thin(path, idt_every):
    """The lines of a log that are kept: every validation, and every so many-th of the others."""
    from ganlib.runs.log import find_stride

    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    is_step = [json.loads(line)["split"] == "train" for line in lines]
    stride = find_stride(sum(is_step), LINES, idt_every)
    kept = []
    n = 0
    for line, of_step in zip(lines, is_step):
        n += of_step
        if not of_step or n % stride == 0:
            kept.append(line)
    return "".join(kept)


def pack_means(folder):
    """The bytes of means.safetensors: both generators' running means, of a whole run."""
    from safetensors import torch as safetensors

    means = {}
    for name, value in safetensors.load_file(folder / "weights.safetensors").items():
        if name.startswith("ema_") and not name.endswith("n_averaged"):
            means[name.removeprefix("ema_")] = value.half().contiguous()
    return safetensors.save(means, {"format": "pt"})


def load_means(folder, cfg, device):
    """The Nets of a kept run, without discriminators, or None where its weights are not kept.
    InputError for weights that are not of its config."""
    from safetensors import torch as safetensors

    from ganlib.models.build import Nets, build_generator

    path = folder / MEANS
    if not path.exists():
        return None
    nets = []
    try:
        weights = safetensors.load_file(path, device=str(device))
        for way in ("ab", "ba"):
            net = build_generator(cfg).to(device)
            state = {}
            for name, value in weights.items():
                if name.startswith(f"{way}."):
                    state[name.removeprefix(f"{way}.")] = value.float()
            net.load_state_dict(state)
            nets.append(net)
    # Torch and safetensors raise nearly anything for a file that is damaged
    except Exception as error:
        raise InputError(
            f"{path}: not the weights of this run ({printable(' '.join(str(error).split()))[:100]})"
            "; get it anew from the repository"
        ) from None
    for net in nets:
        net.requires_grad_(False)
    return Nets(*nets, None, None)


@click.command()
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--into", default=KEPT, help="Folder to keep them in; else reports/study/runs.", type=FOLDER
)
def command(folders, into):
    """Keep finished runs in the repository, small: scores, log, and the generators of seed 0.

    RUN is the folder of a finished run."""
    import torch

    torch.set_num_threads(1)
    try:
        for folder in folders:
            kept = keep(folder, into)
            size = sum(path.stat().st_size for path in kept.iterdir())
            print(f"{kept}: {size / 1e6:.1f} MB")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def main(arguments=None):
    """The command line; returns the exit status."""
    return run(command, "python -m ganlib.runs.kept", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
