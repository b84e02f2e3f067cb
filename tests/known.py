"""Names that files of runs promise: those of a step's losses and gradients, in their order."""

LOSSES = tuple("g g_adv cycle idt d_a d_a_real d_a_fake d_b d_b_real d_b_fake".split())
GRADS = ("grad_g", "grad_d")
