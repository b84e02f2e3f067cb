"""The five losses: adversarial, cycle and identity for the generators; real and fake for each discriminator.

LSGAN (Mao et al. 2017, arXiv 1611.04076): squared distance of the scores to 1 (real) or 0 (fake). Taken in float32.
"""

import torch.nn.functional as F


def gan_loss(score, target):
    """Mean squared distance of a score map to the target: 1.0 for "real", 0.0 for "fake". -> scalar."""
    return (score.float() - target).square().mean()


def l1(x, y):
    """Mean absolute difference of two image batches in [-1, 1]: 0 to 2. -> scalar."""
    return F.l1_loss(x.float(), y.float())


def generator_losses(nets, real_a, real_b, cfg):
    """Losses of both generators together (Zhu et al. 2017, section 3), and the fakes: (dict of scalars, fake_a, fake_b).

    g_adv, cycle and idt are sums over both directions; g = g_adv + lambda_cycle * (cycle + lambda_idt * idt).
    """
    fake_b, fake_a = nets.g_ab(real_a), nets.g_ba(real_b)
    rec_a, rec_b = nets.g_ba(fake_b), nets.g_ab(fake_a)
    idt_a, idt_b = nets.g_ba(real_a), nets.g_ab(real_b)
    losses = {"g_adv": gan_loss(nets.d_b(fake_b), 1.0) + gan_loss(nets.d_a(fake_a), 1.0),
              "cycle": l1(rec_a, real_a) + l1(rec_b, real_b),
              "idt": l1(idt_a, real_a) + l1(idt_b, real_b)}
    losses["g"] = losses["g_adv"] + cfg.lambda_cycle * (losses["cycle"] + cfg.lambda_idt * losses["idt"])
    return losses, fake_a, fake_b


def discriminator_losses(nets, real_a, real_b, fake_a, fake_b):
    """Losses of both discriminators: d = (real + fake) / 2 each, which is 0.25 where it cannot tell. -> dict."""
    losses = {"d_a_real": gan_loss(nets.d_a(real_a), 1.0), "d_a_fake": gan_loss(nets.d_a(fake_a), 0.0),
              "d_b_real": gan_loss(nets.d_b(real_b), 1.0), "d_b_fake": gan_loss(nets.d_b(fake_b), 0.0)}
    losses["d_a"] = (losses["d_a_real"] + losses["d_a_fake"]) / 2
    losses["d_b"] = (losses["d_b_real"] + losses["d_b_fake"]) / 2
    return losses
