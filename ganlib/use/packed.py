"""A model in one file: both generators as safetensors, with discriminators where others' code left
some, and in the file's header all that is needed to use them."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import nn

from ganlib.config import ADDED, TrainConfig, plain_config
from ganlib.errors import InputError, printable
from ganlib.models.build import build_discriminator, build_generator
from ganlib.system.files import expand, write_atomic

HEADER = "ganlib"  # the entry of the file's header that holds what is known of the model, as JSON
VALUES = "byte / 127.5 - 1"  # what the generators take and give, of a byte of an image


class Packed(NamedTuple):
    """A model of a file."""

    g_ab: nn.Module
    g_ba: nn.Module
    image_size: tuple[int, int]  # of the training
    told: dict  # name, config, domains, values; scores, data, pairs where they are known
    judges: dict[str, nn.Module]  # d_a and d_b, or none of them


def pack(path, g_ab: nn.Module, g_ba: nn.Module, cfg: TrainConfig, told: dict, judges=()) -> None:
    """Write two generators of a config to a file, weights in float32, and in its header the config
    and what else is told (name, domains, ...). judges: {"d_a": ..., "d_b": ...}, to train on
    with, or none."""
    weights = {}
    for part, net in {"ab": g_ab, "ba": g_ba, **dict(judges)}.items():
        for name, value in net.state_dict().items():
            weights[f"{part}.{name}"] = value.float().contiguous().cpu()
    known = {"ganlib": version("ganlib"), "config": plain_config(cfg), "values": VALUES} | told
    header = {"format": "pt", HEADER: json.dumps(known)}
    write_atomic(path, safetensors.save(weights, header))


def name_file(out) -> Path:
    """The path of a model file that a user named, with or without its ending. InputError where it
    cannot be one."""
    path = expand(out, "--out")
    if not path.name or path.name == ".." or path.is_dir():
        raise InputError(
            f"--out {printable(path)}: a folder; expected the name of a new file, such as "
            f"{printable(path / 'model')}"
        )
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    return path


def check_figures(told: dict) -> None:
    """ValueError where pairs or scores of a header are not what `pack` has written."""
    if not isinstance(told.get("pairs", 0), int | None):
        raise ValueError("pairs that are no number")
    for score in dict(told.get("scores", {})).values():
        ends = score["low"], score["high"]
        if not isinstance(score["value"], float | int):
            raise ValueError("scores that are no numbers")
        if not all(isinstance(end, float | int | None) for end in ends):
            raise ValueError("intervals that are no numbers")


def unpack(path: Path, device: torch.device) -> Packed:
    """The model of a file that `pack` has written. InputError for any other file."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            told = json.loads((file.metadata() or {})[HEADER])
            weights = {name: file.get_tensor(name) for name in file.keys()}
        cfg = TrainConfig.from_recipe(**(ADDED | told["config"]))
        nets = [take_part(build_generator(cfg), way, weights, device) for way in ("ab", "ba")]
        judges = {}
        for part in ("d_a", "d_b"):
            if any(name.startswith(f"{part}.") for name in weights):
                judges[part] = take_part(build_discriminator(cfg), part, weights, device)
        if len(judges) == 1:
            raise ValueError("one discriminator of two")
        if not all(value.is_floating_point() for value in weights.values()):
            raise ValueError("weights that are no floating-point numbers")
        if not all(value.isfinite().all() for value in weights.values()):
            raise ValueError("weights that are not finite")
        if len(set(told["domains"])) != 2:
            raise ValueError("not two domains")
        check_figures(told)
        told |= {"name": str(told["name"]), "domains": tuple(map(str, told["domains"]))}
    except OSError as error:
        raise InputError(f"{printable(path)}: {error.strerror}; expected a model file") from None
    except InputError as error:
        raise InputError(
            f"{printable(path)}: not a model that this ganlib knows: {error}"
        ) from None
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        why = printable(" ".join(str(error).split()))[:100]
        raise InputError(
            f"{printable(path)}: not a model of ganlib ({type(error).__name__}: {why}); `ganlib "
            "export RUN` writes one"
        ) from None
    return Packed(*nets, cfg.image_size, told, judges)


def take_part(net: nn.Module, part: str, weights: dict, device: torch.device) -> nn.Module:
    """A network, on a device and not to be trained, with the weights of a file that are called
    PART.NAME."""
    own = {}
    for name, value in weights.items():
        if name.startswith(f"{part}."):
            own[name.removeprefix(f"{part}.")] = value
    net.to(device).load_state_dict(own)
    return net.requires_grad_(False)
