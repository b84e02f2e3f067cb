"""Weights of the original authors' code, pytorch-CycleGAN-and-pix2pix, as a model of ganlib.

There, a checkpoint is a folder with latest_net_G_A.pth and so on. G_A translates A to B and G_B
back, as g_ab and g_ba here. Its discriminators are not taken, since a model that translates needs
none: D_A judges what G_A makes, images of B, and would be d_b here."""

import re
from pathlib import Path

import torch
from torch import Tensor

from ganlib.config import TrainConfig
from ganlib.errors import InputError, printable
from ganlib.models.build import build_generator
from ganlib.system.files import expand
from ganlib.use.packed import name_file, pack

OTHERS = "expected a generator of residual blocks (--netG resnet_9blocks or resnet_6blocks)"


def import_model(folder, out, image_size=256, epoch="latest"):
    """Write the generators of a folder of the original code as a model file, and return its path.

    folder: with EPOCH_net_G_A.pth and EPOCH_net_G_B.pth. image_size: pixels a side that they were
    trained at, which the weights do not tell. On the same images the model gives what the original
    gives, to the last bit in float32 on a CPU. Raises InputError for files that are not there, are
    no weights, or are those of another network."""
    folder = expand(folder, "folder")
    path = name_file(out)
    if path.exists():
        raise InputError(f"--out {printable(path)}: is there; choose another name")
    states = {}
    for letter in "AB":
        states[letter] = read_state(folder / f"{epoch}_net_G_{letter}.pth")
    configs = {letter: find_config(state, folder) for letter, state in states.items()}
    if configs["A"] != configs["B"]:
        raise InputError(
            f"{printable(folder)}: G_A and G_B are not of one kind ({configs['A']}, "
            f"{configs['B']}); {OTHERS} in both"
        )
    cfg = TrainConfig.from_recipe(
        "cyclegan", image_size=image_size, resize_conv=False, **configs["A"]
    )
    nets = [take_weights(cfg, states[letter], folder) for letter in "AB"]
    told = {"name": folder.resolve().name, "domains": ("A", "B"), "data": "not known"}
    pack(path, *nets, cfg, told)
    return path


def read_state(path: Path) -> list[tuple[str, Tensor]]:
    """The weights of a file of the original code in the order of its layers, without what newer
    ones of it leave out: the running statistics of norms that are never used."""
    if not path.is_file():
        raise InputError(
            f"{printable(path)}: no such file; expected a folder with EPOCH_net_G_A.pth and "
            "EPOCH_net_G_B.pth, and --epoch to name another than latest"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = {}
        for name, value in state.items():
            name = name.removeprefix("module.")
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
                found[name] = value.float()
    # Torch raises nearly anything for a file that is damaged, or holds code
    except Exception as error:
        raise InputError(
            f"{printable(path)}: no weights that can be read ({type(error).__name__}); expected a "
            "file of the original code that holds numbers alone"
        ) from None
    return sorted(found.items(), key=lambda item: place_of(item[0]))


def place_of(name: str) -> tuple:
    """Where a weight stands: the numbers in its name, model.10.conv_block.5.weight, and a bias
    after its weight."""
    return [int(n) for n in re.findall(r"\d+", name)], name.endswith("bias")


def find_config(state: list[tuple[str, Tensor]], folder: Path) -> dict:
    """ngf and n_blocks of a generator of residual blocks, by its weights. InputError for any
    other."""
    kernels = [value for name, value in state if name.endswith("weight")]
    if any(value.dim() != 4 for value in kernels):
        raise InputError(f"{printable(folder)}: weights of a batch norm; {OTHERS}, --norm instance")
    in_blocks = [name for name, _ in state if re.search(r"conv_block.*weight$", name)]
    if len(in_blocks) < 2 or len(kernels) != len(in_blocks) + 6:
        raise InputError(f"{printable(folder)}: {len(kernels)} convolutions; {OTHERS}")
    return {"ngf": len(kernels[0]), "n_blocks": len(in_blocks) // 2}


def take_weights(cfg: TrainConfig, state: list[tuple[str, Tensor]], folder: Path):
    """A generator of a config with weights that come in the order of its own."""
    net = build_generator(cfg)
    own = net.state_dict()
    sizes = [tuple(value.shape) for value in own.values()]
    theirs = [tuple(value.shape) for _, value in state]
    if sizes != theirs:
        raise InputError(f"{printable(folder)}: weights of other shapes than expected; {OTHERS}")
    net.load_state_dict(dict(zip(own, (value for _, value in state))))
    return net
