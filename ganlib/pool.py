"""The pool of earlier fakes that the discriminators are shown (SimGAN: Shrivastava et al. 2017, 1612.07828, 2.3)."""

import torch


class ImagePool:
    """Keeps up to `size` images; draws come from a generator of its own, so that they depend on the seed alone."""

    def __init__(self, size, seed):
        self.size, self.images = size, []
        self.rng = torch.Generator().manual_seed(seed)

    def swap(self, fakes):
        """(B, C, H, W) fakes -> as many: each the new one or, once the pool is full, half the time an older one."""
        out = []
        for image in fakes.detach() if self.size else ():
            if len(self.images) < self.size:
                self.images.append(image)
            elif torch.rand((), generator=self.rng) < 0.5:
                k = int(torch.randint(self.size, (), generator=self.rng))
                image, self.images[k] = self.images[k], image
            out.append(image)
        return torch.stack(out) if out else fakes.detach()
