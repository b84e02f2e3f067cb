"""Floating-point operations of a step, as torch counts them."""

from dataclasses import replace
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from ganlib.losses import pass_through
from ganlib.models.build import build_nets, coarse_nets
from ganlib.models.coarse import half


def count_flops(cfg):
    """Floating-point operations, two for a multiply-add, of matrix products and convolutions:
    {"flops_per_image": one image through one generator, "flops_per_pair": a training step on one
    pair, forward and backward}. Counted on shapes, nothing computed."""
    return dict(count_once(replace(cfg, seed=0, epoch_steps=0, batch_size=1)))


@cache
def count_once(cfg):
    """What count_flops returns. It takes seconds, and runs that differ in their seed have the
    same."""
    meta = torch.device("meta")
    nets = build_nets(cfg, meta)
    real_a, real_b = [torch.empty(1, 3, *cfg.image_size, device=meta) for _ in "ab"]
    with FlopCounterMode(display=False) as image, torch.no_grad():
        nets.g_ab.train()(real_a)  # in eval mode attention takes a path that is not counted
    pair = count_pair(nets, (real_a, real_b), cfg)
    if cfg.coarse_until:
        coarse = count_pair(coarse_nets(nets), (half(real_a), half(real_b)), cfg)
        pair = cfg.coarse_until * coarse + (1 - cfg.coarse_until) * pair
    return {"flops_per_image": image.get_total_flops(), "flops_per_pair": round(pair)}


def count_pair(nets, pair, cfg):
    """Operations of a step on one pair, the mean over steps with and without an identity loss."""
    found = []
    for step in (1, cfg.idt_every):
        with FlopCounterMode(display=False) as counter:
            pass_through(nets, *pair, cfg.at_step(step), backward=True)
        found.append(counter.get_total_flops())
    without, with_idt = found
    return without + (with_idt - without) / cfg.idt_every
