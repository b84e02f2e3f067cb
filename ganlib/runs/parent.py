"""A run that starts from the weights of another one: its parent, a finished run, one that is kept
in the repository, or a model file.

    cfg = child_config("reports/runs/NAME", steps=4000, decay_from=0.0)
    run = fit(cfg, faces, "reports/runs/longer", Execution(init_from="reports/runs/NAME"))

The parent is left as it is. The new run has a name of its own, and its config says who the parent
was. Networks and running means go on from there; optimizers, rates and pools of earlier fakes begin
anew. Where a parent has generators alone (a kept run, an exported file), new discriminators are
drawn.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch

from ganlib.config import ADDED, TrainConfig, plain_config
from ganlib.errors import InputError, printable, shown
from ganlib.models.build import load_weights
from ganlib.runs.checkpoint import State
from ganlib.runs.finished import load_run
from ganlib.runs.folder import read_weights
from ganlib.runs.kept import MEANS, is_kept
from ganlib.show.progress import say
from ganlib.system.files import expand
from ganlib.use.packed import unpack

# What the shapes of generators and of discriminators depend on
OF_GENERATORS = ("arch", "ngf", "n_blocks", "resize_conv", "pre_norm", "vit_norm")
OF_DISCRIMINATORS = ("ndf", "d_layers", "d_norm")


OF_ANY_FILE = (*OF_DISCRIMINATORS, "d_coarse")


class Parent(NamedTuple):
    """What a run starts from."""

    name: str  # NAME@DIGEST of its weights: what a config calls it
    cfg: TrainConfig
    weights: dict[str, dict]  # as models.build.pack_weights has them, all or the generators alone


def read_parent(path) -> Parent:
    """The parent that a user names: the folder of a run, or a model file. InputError where there
    is none that can be read, or its generators were not kept."""
    path = expand(path, "init_from")
    if not path.exists():
        raise InputError(
            f"init_from {path}: not there; expected the folder of a finished run, or a model file"
        )
    if path.is_file():
        model = unpack(path, torch.device("cpu"))
        cfg = TrainConfig.from_recipe(**(ADDED | model.told["config"]))
        nets = {"g_ab": model.g_ab, "g_ba": model.g_ba} | model.judges
        weights = {name: net.state_dict() for name, net in nets.items()}
        return Parent(name_parent(model.told["name"], path), cfg, weights)
    run = load_run(path, "cpu")
    name = path.resolve().name
    if not is_kept(path):
        file = path / "weights.safetensors"
        return Parent(name_parent(name, file), run.cfg, read_weights(file, "cpu"))
    if run.ema is None:
        raise InputError(
            f"init_from {path}: its generators were not kept; expected a run that was trained "
            "here, or one of seed 0"
        )
    weights = {"g_ab": run.ema.g_ab.state_dict(), "g_ba": run.ema.g_ba.state_dict()}
    return Parent(name_parent(name, path / MEANS), run.cfg, weights)


def name_parent(name: str, file: Path) -> str:
    """NAME@DIGEST of a parent whose weights are in a file."""
    return f"{printable(name)[:100]}@{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def child_config(parent, /, **values) -> TrainConfig:
    """The config of a run that starts from a Parent, or from what read_parent takes: the parent's
    with some fields changed. steps and decay_from have to be among them, as nobody can guess how
    rates should go on. InputError without them, and for what read_parent and TrainConfig raise
    it."""
    for name, example in (
        ("steps", "how many more steps it takes, for instance 4000"),
        ("decay_from", "0.0 if rates shall fall from the first of them on, 1.0 if never"),
    ):
        if name not in values:
            raise InputError(f"{name}: missing, and init_from needs it: {example}")
    if not isinstance(parent, Parent):
        parent = read_parent(parent)
    if values.get("recipe", parent.cfg.recipe) != parent.cfg.recipe:
        raise InputError(
            f"recipe {shown(values['recipe'])}: a run with init_from has the recipe of its parent, "
            f"{parent.cfg.recipe}; leave it out, and name the fields that shall be others"
        )
    if parent.cfg.coarse_until and "coarse_until" not in values:
        raise InputError(
            f"coarse_until: missing, and init_from needs it, as the parent has trained from coarse "
            f"to fine ({parent.cfg.coarse_until}): the share of the new steps at half the size"
        )
    own = plain_config(parent.cfg) | {"parent": parent.name}
    return TrainConfig.from_recipe(**(own | values))


def find_others(names, parent: TrainConfig, child: TrainConfig) -> list[str]:
    """What differs in some fields of two configs, in words."""
    other = []
    for name in names:
        theirs, mine = getattr(parent, name), getattr(child, name)
        if theirs != mine:
            other.append(f"{name} {theirs} there, {mine} now")
    return other


def start_from(path, state: State, cfg: TrainConfig) -> None:
    """Put the weights of a parent into the State of a run, before its first step. InputError where
    it is another parent than the config's, or its networks are of another kind."""
    if not path:
        raise InputError(
            f"init_from: missing, and the config starts from {cfg.parent}; name its folder or file "
            "in Execution"
        )
    parent = read_parent(path)
    if parent.name != cfg.parent:
        raise InputError(
            f"init_from {path}: {parent.name}, and the config names "
            f"{cfg.parent or 'no parent'}; make the config by ganlib.runs.parent.child_config"
        )
    weights = parent.weights
    if "d_a" in weights and Path(path).is_file() and find_others(OF_ANY_FILE, parent.cfg, cfg):
        say("new discriminators are drawn, as others than those of the file are asked for")
        weights = {name: weights[name] for name in ("g_ab", "g_ba")}
    fields = OF_GENERATORS + OF_DISCRIMINATORS * ("d_a" in weights)
    if other := find_others(fields, parent.cfg, cfg):
        raise InputError(
            f"init_from {path}: its networks are of another kind ({'; '.join(other)}); set these "
            "as they are there"
        )
    fresh = {name: net.state_dict() for name, net in state.nets._asdict().items()}
    try:
        load_weights(state.nets, state.emas, fresh | weights)
    except RuntimeError:  # torch's, of layers that one has and the other has not
        raise InputError(
            f"init_from {path}: it has other layers; set d_coarse, coarse_until, refine and "
            "refine_input as they are there"
        ) from None
