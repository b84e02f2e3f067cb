"""Weights of the original authors' code, pytorch-CycleGAN-and-pix2pix, as a model of ganlib.

There, a checkpoint is a folder with latest_net_G_A.pth and so on. G_A translates A to B and G_B
back, as g_ab and g_ba here. D_A judges what G_A makes, images of B: it is d_b here, and D_B is d_a.
Discriminators are needed only to train on, and are taken where both files lie there."""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from ganlib.config import TrainConfig
from ganlib.errors import InputError, printable
from ganlib.models.build import build_discriminator, build_generator
from ganlib.show.progress import say
from ganlib.system.files import expand
from ganlib.use.packed import name_file, pack

OTHERS = "expected a generator of residual blocks (--netG resnet_9blocks or resnet_6blocks)"
JUDGES = "expected a discriminator of patches (--netD basic or n_layers, --norm instance)"


def import_model(folder, out, image_size=256, epoch="latest"):
    """Write the networks of a folder of the original code as a model file, and return its path.

    folder: with EPOCH_net_G_A.pth and EPOCH_net_G_B.pth, and EPOCH_net_D_A.pth and
    EPOCH_net_D_B.pth if it has them; discriminators of another kind than PatchGAN are left out,
    which is said. image_size: pixels a side that they were trained at, which the weights do not
    tell. On the same images the model gives what the original gives, to the last bit in float32 on
    a CPU. Raises InputError for files that are not there, are no weights, or are generators of
    another kind."""
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
    of_judges, judges = read_judges(folder, epoch)
    fields = {"image_size": image_size, "resize_conv": False} | configs["A"] | of_judges
    cfg = TrainConfig.from_recipe("cyclegan", **fields)
    nets = []
    for letter in "AB":
        nets.append(take_weights(build_generator(cfg), states[letter], folder, OTHERS))
    told = {"name": folder.resolve().name, "domains": ("A", "B"), "data": "not known"}
    pack(path, *nets, cfg, told, judges)
    return path


def read_judges(folder: Path, epoch: str) -> tuple[dict, dict[str, nn.Module]]:
    """The fields of a config that discriminators depend on, and {"d_a", "d_b"} with their weights;
    both empty where there are none, or none that are known, which is said."""
    paths = {letter: folder / f"{epoch}_net_D_{letter}.pth" for letter in "AB"}
    if not any(path.is_file() for path in paths.values()):
        return {}, {}
    try:
        states = {letter: read_state(path) for letter, path in paths.items()}
        fields = find_judge_config(states["A"], folder)
        cfg = TrainConfig.from_recipe("cyclegan", **fields)
        judges = {}
        for name, letter in (("d_a", "B"), ("d_b", "A")):
            judges[name] = take_weights(build_discriminator(cfg), states[letter], folder, JUDGES)
    except InputError as error:
        say(f"discriminators are left out, and new ones drawn where training goes on: {error}")
        return {}, {}
    return fields, judges


def find_judge_config(state: list[tuple[str, Tensor]], folder: Path) -> dict:
    """ndf and d_layers of a discriminator of patches, by its weights. InputError for any other."""
    kernels = [value for name, value in state if name.endswith("weight")]
    if len(kernels) < 3 or any(value.shape[2:] != (4, 4) for value in kernels):
        raise InputError(f"{printable(folder)}: {JUDGES}")
    return {"ndf": len(kernels[0]), "d_layers": len(kernels) - 2}


def read_state(path: Path) -> list[tuple[str, Tensor]]:
    """The weights of a file of the original code in the order of its layers, without what newer
    ones of it leave out: the running statistics of norms that are never used. InputError for one
    that is not there, cannot be read, or holds numbers that are not finite."""
    if not path.is_file():
        kind = path.stem[-3]  # of ..._net_G_A
        raise InputError(
            f"{printable(path)}: no such file; expected EPOCH_net_{kind}_A.pth and "
            f"EPOCH_net_{kind}_B.pth in one folder, and --epoch to name another than latest"
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
    if not all(value.isfinite().all() for value in found.values()):
        raise InputError(f"{printable(path)}: has weights that are not finite numbers")
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


def take_weights(net: nn.Module, state: list[tuple[str, Tensor]], folder: Path, expected: str):
    """A network with weights that come in the order of its own; InputError, which says what was
    expected, where their shapes are others."""
    own = net.state_dict()
    sizes = [tuple(value.shape) for value in own.values()]
    theirs = [tuple(value.shape) for _, value in state]
    if sizes != theirs:
        raise InputError(f"{printable(folder)}: weights of other shapes than expected; {expected}")
    net.load_state_dict(dict(zip(own, (value for _, value in state))))
    return net
