"""The training step as plainly as it can be written: float32, one forward for each use, torch's own
layers, a list for a pool.

Nothing trains by it. It is what the fast step is tested against, and what its speed is measured by.
"""

import torch

from ganlib.losses import gan_loss, l1, weighed
from ganlib.models.build import set_trainable


def plain_step(nets, opts, pools, real_a, real_b, cfg):
    """One update of the generators, then of the discriminators (Zhu et al. 2017, section 4);
    returns the losses."""
    g_ab, g_ba, d_a, d_b = nets
    set_trainable((d_a, d_b), False)
    fake_b, fake_a = g_ab(real_a), g_ba(real_b)
    content, (with_cycle, with_idt) = {}, weighed(cfg)
    if with_cycle:
        rec_a, rec_b = g_ba(fake_b), g_ab(fake_a)
        content["cycle"] = l1(rec_a, real_a) + l1(rec_b, real_b)
    if with_idt:
        idt_a, idt_b = g_ba(real_a), g_ab(real_b)
        content["idt"] = l1(idt_a, real_a) + l1(idt_b, real_b)
    g_adv = gan_loss(d_b(fake_b), 1.0) + gan_loss(d_a(fake_a), 1.0)
    g = g_adv + cfg.lambda_cycle * (
        content.get("cycle", 0.0) + cfg.lambda_idt * content.get("idt", 0.0)
    )
    opts[0].zero_grad()
    g.backward()
    grad_g = gradient_size(g_ab, g_ba)
    opts[0].step()

    set_trainable((d_a, d_b), True)
    old_a, old_b = pools[0].swap(fake_a), pools[1].swap(fake_b)
    d_a_real, d_a_fake = gan_loss(d_a(real_a), 1.0), gan_loss(d_a(old_a), 0.0)
    d_b_real, d_b_fake = gan_loss(d_b(real_b), 1.0), gan_loss(d_b(old_b), 0.0)
    loss_a, loss_b = (d_a_real + d_a_fake) / 2, (d_b_real + d_b_fake) / 2
    opts[1].zero_grad()
    (loss_a + loss_b).backward()
    grad_d = gradient_size(d_a, d_b)
    opts[1].step()
    losses = {
        "g": g,
        "g_adv": g_adv,
        **content,
        "d_a": loss_a,
        "d_a_real": d_a_real,
        "d_a_fake": d_a_fake,
        "d_b": loss_b,
        "d_b_real": d_b_real,
        "d_b_fake": d_b_fake,
    }
    return {name: loss.detach() for name, loss in losses.items()} | {
        "grad_g": grad_g,
        "grad_d": grad_d,
    }


def gradient_size(*nets):
    """The length of the gradient of all weights as one vector."""
    return torch.cat(
        [p.grad.flatten() for net in nets for p in net.parameters() if p.grad is not None]
    ).norm()
