"""The five losses: adversarial, cycle and identity for the generators; real and fake for each
discriminator.

LSGAN (Mao et al. 2017, arXiv 1611.04076): squared distance of the scores to 1 (real) or 0 (fake).
Taken in float32. Images are (B, 3, H, W) in [-1, 1], each loss is a scalar.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganlib.config import TrainConfig
from ganlib.models.build import Nets, set_trainable


def full(x: Tensor) -> Tensor:
    """x in float32, or in float64 if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def gan_loss(score: Tensor | list, target: float) -> Tensor:
    """Mean squared distance of a score map (B, 1, h, w) to the target: 1.0 for "real", 0.0 for
    "fake". Of several maps, [(weight, map)] as models.coarse.TwoSizes gives them, their weighted
    sum."""
    if isinstance(score, list):
        return sum(weight * gan_loss(one, target) for weight, one in score)
    return (full(score) - target).square().mean()


def split_scores(score: Tensor | list, n: int) -> tuple:
    """The scores of the first n images of a batch of 2n, and those of the others."""
    if isinstance(score, list):
        first = [(weight, one[:n]) for weight, one in score]
        others = [(weight, one[n:]) for weight, one in score]
        return first, others
    return score.split(n)


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of two image batches: 0 to 2."""
    return F.l1_loss(full(x), full(y))


def weighed(cfg: TrainConfig) -> tuple[bool, bool]:
    """(Whether the cycle loss has a weight, whether the identity loss has one): what has none is
    not computed."""
    return cfg.lambda_cycle > 0, cfg.lambda_cycle > 0 and cfg.lambda_idt > 0


def generator_losses(
    nets: Nets, real_a: Tensor, real_b: Tensor, cfg: TrainConfig
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Losses of both generators together (Zhu et al. 2017, section 3), and fake_a, fake_b.

    g_adv, cycle and idt are sums over both directions; g = g_adv + lambda_cycle * (cycle +
    lambda_idt * idt). cycle or idt is not computed, and not among the losses, where its weight is
    0.
    """
    n = len(real_a)
    with_cycle, with_idt = weighed(cfg)
    if with_idt:  # in one pass: the networks normalise each image by itself, so none sees others
        fake_b, idt_b = nets.g_ab(torch.cat([real_a, real_b])).split(n)  # (2B, 3, H, W) -> B, B
        fake_a, idt_a = nets.g_ba(torch.cat([real_b, real_a])).split(n)
    else:
        fake_b = nets.g_ab(real_a)
        fake_a = nets.g_ba(real_b)
    if with_cycle:
        rec_a = nets.g_ba(fake_b)
        rec_b = nets.g_ab(fake_a)
    g_adv = gan_loss(nets.d_b(fake_b), 1.0) + gan_loss(nets.d_a(fake_a), 1.0)
    content = {}
    if with_cycle:
        content["cycle"] = l1(rec_a, real_a) + l1(rec_b, real_b)
    if with_idt:
        content["idt"] = l1(idt_a, real_a) + l1(idt_b, real_b)
    weighted = content.get("cycle", 0.0) + cfg.lambda_idt * content.get("idt", 0.0)
    g = g_adv + cfg.lambda_cycle * weighted
    return {"g": g, "g_adv": g_adv, **content}, fake_a, fake_b


def discriminator_losses(
    nets: Nets, real_a: Tensor, real_b: Tensor, fake_a: Tensor, fake_b: Tensor
) -> dict[str, Tensor]:
    """Losses of both discriminators: d = (real + fake) / 2 each, 0.25 where it cannot tell."""
    losses = {}
    for name, net, real, fake in [
        ("d_a", nets.d_a, real_a, fake_a),
        ("d_b", nets.d_b, real_b, fake_b),
    ]:
        score = net(torch.cat([real, fake]))  # (2B, 1, h, w)
        of_real, of_fake = split_scores(score, len(real))
        d_real = gan_loss(of_real, 1.0)
        d_fake = gan_loss(of_fake, 0.0)
        losses[name] = (d_real + d_fake) / 2
        losses[f"{name}_real"] = d_real
        losses[f"{name}_fake"] = d_fake
    return losses


def pass_through(
    nets: Nets, real_a: Tensor, real_b: Tensor, cfg: TrainConfig, backward: bool = False
) -> dict[str, Tensor]:
    """All losses of a batch, in the order of a step and, if asked, the backward passes, without a
    pool or an update: for what is only measured or counted."""
    set_trainable(nets[2:], False)
    g, fake_a, fake_b = generator_losses(nets, real_a, real_b, cfg)
    if backward:
        g["g"].backward()
    set_trainable(nets[2:], True)
    d = discriminator_losses(nets, real_a, real_b, fake_a.detach(), fake_b.detach())
    if backward:
        (d["d_a"] + d["d_b"]).backward()
    return g | d
