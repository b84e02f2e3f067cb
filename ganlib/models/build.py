"""The four networks of a run: built, saved and loaded."""

from typing import NamedTuple

import torch
from torch import nn

from ganlib.config import TrainConfig
from ganlib.errors import InputError, shown
from ganlib.models.coarse import CoarseToFine, TwoSizes
from ganlib.models.common import init_normal
from ganlib.models.cyclegan import CycleGANGenerator
from ganlib.models.discriminator import PatchDiscriminator
from ganlib.models.spectral import WARM, renew
from ganlib.models.uvcgan import UVCGANGenerator


class Nets(NamedTuple):
    """Both generators, by direction, and both discriminators, by the domain each judges."""

    g_ab: nn.Module
    g_ba: nn.Module
    d_a: nn.Module
    d_b: nn.Module


def build_cyclegan(cfg: TrainConfig) -> nn.Module:
    """A generator with residual blocks (models.cyclegan)."""
    return CycleGANGenerator(ngf=cfg.ngf, n_blocks=cfg.n_blocks, resize_conv=cfg.resize_conv)


def build_uvcgan(cfg: TrainConfig) -> nn.Module:
    """A generator with skips and a transformer (models.uvcgan)."""
    return UVCGANGenerator(ngf=cfg.ngf, pre_norm=cfg.pre_norm, vit_norm=cfg.vit_norm)


# What each name of config.ARCHS builds: a generator, (B, 3, H, W) in [-1, 1] -> the same.
GENERATORS = {"cyclegan": build_cyclegan, "uvcgan": build_uvcgan}


def build_generator(cfg: TrainConfig) -> nn.Module:
    """One generator of a config; InputError for an arch that nobody builds."""
    if cfg.arch not in GENERATORS:
        known = ", ".join(GENERATORS)
        raise InputError(f"arch {shown(cfg.arch)}: no such generator; there are {known}")
    net = GENERATORS[cfg.arch](cfg)
    return CoarseToFine(net, cfg.refine, cfg.refine_input) if cfg.coarse_until else net


def build_discriminator(cfg: TrainConfig) -> nn.Module:
    """One discriminator of a config: of patches of one size or, with d_coarse, of two."""
    fine = PatchDiscriminator(cfg.ndf, cfg.d_layers, cfg.global_score, norm=cfg.d_norm)
    if not cfg.d_coarse:
        return fine
    coarse = PatchDiscriminator(cfg.ndf, cfg.d_layers, cfg.global_score, norm=cfg.d_norm)
    return TwoSizes(fine, coarse, cfg.d_coarse)


def build_nets(cfg: TrainConfig, device: torch.device) -> Nets:
    """The four networks of a config, on a device, initialised from torch's global seed."""
    nets = [build_generator(cfg), build_generator(cfg)]
    nets += [build_discriminator(cfg), build_discriminator(cfg)]
    if cfg.init == "normal":
        nets = [init_normal(net) for net in nets]
    renew(nets, WARM)
    return Nets(*[net.to(device) for net in nets])


def check_sizes(cfg: TrainConfig) -> None:
    """Raise InputError for an image_size that the networks of a config cannot take: told on shapes
    alone, before any image is read."""
    with torch.device("meta"), torch.no_grad():
        image = torch.empty(1, 3, *cfg.image_size)
        build_generator(cfg)(image)
        build_discriminator(cfg)(image)


def coarse_nets(nets: Nets) -> Nets:
    """What of four networks that go from coarse to fine trains at half the size."""
    return Nets(*[net.coarse for net in nets])


def set_trainable(nets: tuple, flag: bool) -> None:
    """Whether backward reaches the weights of these networks."""
    for net in nets:
        net.requires_grad_(flag)


def pack_weights(nets: Nets, emas: list) -> dict[str, dict]:
    """The weights of a run as a dict of state dicts: g_ab, g_ba, d_a, d_b, ema_ab, ema_ba."""
    weights = {name: net.state_dict() for name, net in nets._asdict().items()}
    for way, ema in zip(("ab", "ba"), emas):
        weights[f"ema_{way}"] = ema.module.state_dict() | {"n_averaged": ema.n_averaged}
    return weights


def load_weights(nets: Nets, emas: list, weights: dict[str, dict]) -> None:
    """Put a dict of pack_weights into networks. Where it has no running means, as that of a
    network trained elsewhere, they start again from the loaded weights: never from those that the
    networks had before."""
    for name, net in nets._asdict().items():
        net.load_state_dict(weights[name])
    for way, net, ema in zip(("ab", "ba"), nets, emas):
        means = dict(weights.get(f"ema_{way}", net.state_dict()))
        steps = means.pop("n_averaged", torch.tensor(0))  # after 0 the next step starts the mean
        ema.n_averaged.copy_(steps)
        ema.module.load_state_dict(means)
