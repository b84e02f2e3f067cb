"""Floating-point operations of a step, as torch counts them."""

from dataclasses import replace
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from ganlib.losses import pass_through
from ganlib.models.build import build_nets


def count_flops(cfg):
    """Floating-point operations, two for a multiply-add, of matrix products and convolutions:
    {"flops_per_image": one image through one generator, "flops_per_pair": a training step on one
    pair, forward and backward}. Counted on shapes, nothing computed."""
    return dict(count_once(replace(cfg, seed=0, steps=1, epoch_steps=0, batch_size=1)))


@cache
def count_once(cfg):
    """What count_flops returns. It takes seconds, and runs that differ in their seed have the
    same."""
    meta = torch.device("meta")
    nets = build_nets(cfg, meta)
    real_a, real_b = [torch.empty(1, 3, *cfg.image_size, device=meta) for _ in "ab"]
    with FlopCounterMode(display=False) as image, torch.no_grad():
        nets.g_ab.train()(real_a)  # in eval mode attention takes a path that is not counted
    with FlopCounterMode(display=False) as step:
        pass_through(nets, real_a, real_b, cfg, backward=True)
    return {"flops_per_image": image.get_total_flops(), "flops_per_pair": step.get_total_flops()}
