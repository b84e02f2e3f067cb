"""The four networks of a run: built, saved and loaded."""

from typing import NamedTuple

import torch

from ganlib.models import CycleGANGenerator, PatchDiscriminator, UVCGANGenerator, init_normal


class Nets(NamedTuple):
    """Both generators, by direction, and both discriminators, by the domain each judges."""

    g_ab: torch.nn.Module
    g_ba: torch.nn.Module
    d_a: torch.nn.Module
    d_b: torch.nn.Module


def build_nets(cfg, device):
    """The four networks of a config, on a device, initialised from torch's global seed. Refuses
    sizes they cannot take."""

    def generator():
        if cfg.arch == "cyclegan":
            return CycleGANGenerator(
                ngf=cfg.ngf, n_blocks=cfg.n_blocks, resize_conv=cfg.resize_conv
            )
        return UVCGANGenerator(ngf=cfg.ngf, pre_norm=cfg.pre_norm, vit_norm=cfg.vit_norm)

    def discriminator():
        return PatchDiscriminator(ndf=cfg.ndf, n_layers=cfg.d_layers, global_score=cfg.global_score)

    nets = [generator(), generator(), discriminator(), discriminator()]
    if cfg.init == "normal":
        nets = [init_normal(net) for net in nets]
    return Nets(*[net.to(device) for net in nets])


def set_trainable(nets, flag):
    """Whether backward reaches the weights of these networks."""
    for net in nets:
        net.requires_grad_(flag)


def pack_weights(nets, emas):
    """The weights of a run as a dict of state dicts: g_ab, g_ba, d_a, d_b, ema_ab, ema_ba."""
    means = {
        f"ema_{way}": ema.module.state_dict() | {"n_averaged": ema.n_averaged}
        for way, ema in zip(("ab", "ba"), emas)
    }
    return {name: net.state_dict() for name, net in nets._asdict().items()} | means


def load_weights(nets, emas, weights):
    """Put a dict of pack_weights into networks. Where it has no running means, as that of a
    network trained elsewhere, they start again from the loaded weights: never from those that
    the networks had before."""
    for name, net in nets._asdict().items():
        net.load_state_dict(weights[name])
    for way, net, ema in zip(("ab", "ba"), nets, emas):
        means = dict(weights.get(f"ema_{way}", net.state_dict()))
        # After 0 steps the next one starts the mean
        ema.n_averaged.copy_(means.pop("n_averaged", torch.tensor(0)))
        ema.module.load_state_dict(means)
