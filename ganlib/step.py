"""The training step as plainly as it can be written: float32, one forward pass for each use.

With networks of torch's own layers (models.plain) and a list for a pool (pool.PlainPool) it is
what the fast step is tested against, and what its speed is measured by. Notebook 02 trains by it.
"""

import torch
from torch import Tensor, nn

from ganlib.config import TrainConfig
from ganlib.losses import gan_loss, l1, weighed
from ganlib.models.build import Nets, set_trainable
from ganlib.models.spectral import renew


def plain_step(
    nets: Nets, opts: tuple, pools: tuple, real_a: Tensor, real_b: Tensor, cfg: TrainConfig
) -> dict[str, Tensor]:
    """One update of the generators, then of the discriminators (Zhu et al. 2017, section 4).

    opts: (of the generators, of the discriminators); pools: (of fake_a, of fake_b); real_a, real_b:
    (B, 3, H, W) in [-1, 1]. Returns the losses, and the sizes of both gradients, by name.
    """
    g_ab, g_ba, d_a, d_b = nets
    opt_g, opt_d = opts
    with_cycle, with_idt = weighed(cfg)

    # The generators: fool the discriminators, find the way back, leave their own domain alone.
    set_trainable((d_a, d_b), False)
    fake_b = g_ab(real_a)  # (B, 3, H, W)
    fake_a = g_ba(real_b)
    g_adv = gan_loss(d_b(fake_b), 1.0) + gan_loss(d_a(fake_a), 1.0)  # maps (B, 1, h, w)
    content = {}
    if with_cycle:
        rec_a = g_ba(fake_b)
        rec_b = g_ab(fake_a)
        content["cycle"] = l1(rec_a, real_a) + l1(rec_b, real_b)
    if with_idt:
        idt_a = g_ba(real_a)
        idt_b = g_ab(real_b)
        content["idt"] = l1(idt_a, real_a) + l1(idt_b, real_b)
    weighted = content.get("cycle", 0.0) + cfg.lambda_idt * content.get("idt", 0.0)
    g = g_adv + cfg.lambda_cycle * weighted
    opt_g.zero_grad()
    g.backward()
    grad_g = gradient_size(g_ab, g_ba)
    opt_g.step()

    # The discriminators: 1 for real images, 0 for fakes, new ones and some from the pool.
    set_trainable((d_a, d_b), True)
    old_a = pools[0].swap(fake_a)  # (B, 3, H, W), detached
    old_b = pools[1].swap(fake_b)
    d_a_real = gan_loss(d_a(real_a), 1.0)
    d_a_fake = gan_loss(d_a(old_a), 0.0)
    d_b_real = gan_loss(d_b(real_b), 1.0)
    d_b_fake = gan_loss(d_b(old_b), 0.0)
    loss_a = (d_a_real + d_a_fake) / 2
    loss_b = (d_b_real + d_b_fake) / 2
    opt_d.zero_grad()
    (loss_a + loss_b).backward()
    grad_d = gradient_size(d_a, d_b)
    opt_d.step()
    renew((d_a, d_b))  # spectral norms, where there are any, follow their weights

    losses = {"g": g, "g_adv": g_adv, **content}
    losses |= {"d_a": loss_a, "d_a_real": d_a_real, "d_a_fake": d_a_fake}
    losses |= {"d_b": loss_b, "d_b_real": d_b_real, "d_b_fake": d_b_fake}
    losses |= {"grad_g": grad_g, "grad_d": grad_d}
    return {name: value.detach() for name, value in losses.items()}


def gradient_size(*nets: nn.Module) -> Tensor:
    """The length of the gradient of all weights as one vector."""
    parts = []
    for net in nets:
        parts += [p.grad.flatten() for p in net.parameters() if p.grad is not None]
    return torch.cat(parts).norm()
