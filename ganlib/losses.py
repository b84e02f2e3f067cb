"""The five losses: adversarial, cycle and identity for the generators; real and fake for each
discriminator.

LSGAN (Mao et al. 2017, arXiv 1611.04076): squared distance of the scores to 1 (real) or 0
(fake). Taken in float32."""

import torch
import torch.nn.functional as F


def full(x):
    """x in float32, or in float64 if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def gan_loss(score, target):
    """Mean squared distance of a score map to the target: 1.0 for "real", 0.0 for "fake". ->
    scalar."""
    return (full(score) - target).square().mean()


def l1(x, y):
    """Mean absolute difference of two image batches in [-1, 1]: 0 to 2. -> scalar."""
    return F.l1_loss(full(x), full(y))


def weighed(cfg):
    """(Whether the cycle loss has a weight, whether the identity loss has one): what has none is
    not computed."""
    return cfg.lambda_cycle > 0, cfg.lambda_cycle > 0 and cfg.lambda_idt > 0


def generator_losses(nets, real_a, real_b, cfg):
    """Losses of both generators together (Zhu et al. 2017, section 3), and the fakes: (dict of
    scalars, fake_a, fake_b).

    g_adv, cycle and idt are sums over both directions; g = g_adv + lambda_cycle * (cycle +
    lambda_idt * idt). cycle or idt is not computed, and not among the losses, where its weight
    is 0."""
    n, (with_cycle, with_idt) = len(real_a), weighed(cfg)
    # In one pass: the networks normalise each image by itself, so none sees the others
    if with_idt:
        fake_b, idt_b = nets.g_ab(torch.cat([real_a, real_b])).split(n)
        fake_a, idt_a = nets.g_ba(torch.cat([real_b, real_a])).split(n)
    else:
        fake_b, fake_a = nets.g_ab(real_a), nets.g_ba(real_b)
    if with_cycle:
        rec_a, rec_b = nets.g_ba(fake_b), nets.g_ab(fake_a)
    losses = {"g_adv": gan_loss(nets.d_b(fake_b), 1.0) + gan_loss(nets.d_a(fake_a), 1.0)}
    if with_cycle:
        losses["cycle"] = l1(rec_a, real_a) + l1(rec_b, real_b)
    if with_idt:
        losses["idt"] = l1(idt_a, real_a) + l1(idt_b, real_b)
    content = losses.get("cycle", 0.0) + cfg.lambda_idt * losses.get("idt", 0.0)
    losses["g"] = losses["g_adv"] + cfg.lambda_cycle * content
    return losses, fake_a, fake_b


def discriminator_losses(nets, real_a, real_b, fake_a, fake_b):
    """Losses of both discriminators: d = (real + fake) / 2 each, which is 0.25 where it cannot
    tell. -> dict."""
    losses = {}
    for name, net, real, fake in [
        ("d_a", nets.d_a, real_a, fake_a),
        ("d_b", nets.d_b, real_b, fake_b),
    ]:
        of_real, of_fake = net(torch.cat([real, fake])).split(len(real))
        losses |= {f"{name}_real": gan_loss(of_real, 1.0), f"{name}_fake": gan_loss(of_fake, 0.0)}
        losses[name] = (losses[f"{name}_real"] + losses[f"{name}_fake"]) / 2
    return losses
