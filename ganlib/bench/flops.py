"""Floating-point operations of a step: counted by torch, and by a formula."""

from dataclasses import replace
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ganlib.losses import discriminator_losses, generator_losses, weighed
from ganlib.models.build import build_nets, set_trainable
from ganlib.models.vit import ViTBlock


def count_flops(cfg):
    """Floating-point operations, two for a multiply-add, of matrix products and convolutions:
    {"flops_per_image": one image through one generator, "flops_per_pair": a training step on one
    pair, forward and backward}. Counted, nothing computed."""
    return dict(count_once(replace(cfg, seed=0, steps=1, epoch_steps=0, batch_size=1)))


@cache
def count_once(cfg):
    """What count_flops returns. It takes seconds, and runs that differ in their seed have the
    same."""
    meta = torch.device("meta")
    nets, pair = (
        build_nets(cfg, meta),
        [torch.empty(1, 3, *cfg.image_size, device=meta) for _ in range(2)],
    )
    with FlopCounterMode(display=False) as image, torch.no_grad():
        nets.g_ab.train()(pair[0])  # in eval mode attention takes a path that is not counted
    with FlopCounterMode(display=False) as step:
        pass_through(nets, *pair, cfg)
    return {"flops_per_image": image.get_total_flops(), "flops_per_pair": step.get_total_flops()}


def pass_through(nets, real_a, real_b, cfg):
    """Forward and backward of a training step, without updates or pools: for what is counted on
    shapes."""
    set_trainable(nets[2:], False)
    g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
    g["g"].backward()
    set_trainable(nets[2:], True)
    d = discriminator_losses(nets, real_a, real_b, fake_a.detach(), fake_b.detach())
    (d["d_a"] + d["d_b"]).backward()


def formula_flops(cfg):
    """The same two figures from the sizes of the layers: 2 k^2 c_in c_out h w for a convolution,
    2 in out for a linear layer on a token, 4 L^2 F for attention over L tokens. A step is 6
    generator passes (2 there, and 2 back and 2 identities where these have a weight) and 6 of a
    discriminator (2 on fakes for the generators, 2 on real images, 2 on fakes for itself);
    backward costs twice the forward pass, of discriminators in the generators' step once, as
    their weights are frozen then; the first convolution of a pass on images that nothing is
    learned of needs no gradient of its input."""
    nets, image = (
        build_nets(cfg, torch.device("meta")),
        torch.empty(1, 3, *cfg.image_size, device="meta"),
    )
    g, d = [forward_flops(net, image) for net in (nets.g_ab, nets.d_a)]
    with_cycle, with_idt = weighed(cfg)
    on_real, on_fake = 2 + 2 * with_idt, 2 * with_cycle
    step = (on_real + on_fake) * 3 * sum(g) - on_real * g[0] + (2 * 2 + 4 * 3) * sum(d) - 4 * d[0]
    return {"flops_per_image": sum(g), "flops_per_pair": step}


def forward_flops(net, image):
    """Operations of each layer of a network, in the order in which an image passes."""
    found = []

    def count(module, inputs, output):
        if isinstance(module, nn.ConvTranspose2d):
            found.append(2 * module.weight.numel() * inputs[0].shape[-2:].numel())
        elif isinstance(module, nn.Conv2d):
            found.append(2 * module.weight.numel() * output.shape[-2:].numel())
        elif isinstance(module, nn.Linear):
            found.append(2 * module.weight.numel() * output[..., 0].numel())
        # Its attention calls no module: the three projections, the two products
        elif isinstance(module, ViTBlock):
            length, features = output.shape[-2:]
            found.append(
                2 * module.attention.in_proj_weight.numel() * length + 4 * length**2 * features
            )

    hooks = [module.register_forward_hook(count) for module in net.modules()]
    with torch.no_grad():
        net(image)
    for hook in hooks:
        hook.remove()
    return found
