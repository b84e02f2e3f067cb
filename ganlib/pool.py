"""The pool of earlier fakes that the discriminators are shown (SimGAN: Shrivastava et al. 2017,
1612.07828, 2.3)."""

import torch

from ganlib.parallel.ranks import gather, my_part


class PlainPool:
    """The image pool as published: a list."""

    def __init__(self, size, seed):
        self.size, self.images, self.rng = size, [], torch.Generator().manual_seed(seed)

    def swap(self, fakes):
        out = []
        for image in fakes.detach() if self.size else ():
            if len(self.images) < self.size:
                self.images.append(image)
            elif torch.rand((), generator=self.rng) < 0.5:
                k = int(torch.randint(self.size, (), generator=self.rng))
                image, self.images[k] = self.images[k], image
            out.append(image)
        return torch.stack(out) if out else fakes.detach()


class ImagePool:
    """Keeps up to `size` images; draws come from a generator of its own, so that they depend on the
    seed alone.

    What is exchanged is decided on the host by draw; swap then only moves images on their
    device, with shapes that never change. Among several processes the pool is one: each has the
    whole of it, and takes its part of what is shown."""

    def __init__(self, size, seed):
        self.size, self.held, self.images = size, 0, None
        self.rng = torch.Generator().manual_seed(seed)
        # Indices into (pool, new fakes): what to show, and what to keep
        self.shown = self.kept = None
        self.drawn = False

    def draw(self, n, device):
        """Decide on the exchange for the next n fakes: each is shown itself or, once the pool is
        full, half the time an older one."""
        kept, shown = list(range(self.size)), []
        for image in range(self.size, self.size + n if self.size else 0):
            if self.held < self.size:
                kept[self.held] = image
                self.held += 1
            elif torch.rand((), generator=self.rng) < 0.5:
                k = int(torch.randint(self.size, (), generator=self.rng))
                image, kept[k] = kept[k], image
            shown.append(image)
        if self.shown is None or len(self.shown) != len(shown):
            self.shown, self.kept = [
                torch.empty(len(x), dtype=torch.int64, device=device) for x in (shown, kept)
            ]
        for there, indices in ((self.shown, shown), (self.kept, kept)):
            indices = torch.tensor(indices, dtype=torch.int64)
            there.copy_(indices.pin_memory() if there.is_cuda else indices, non_blocking=True)
        self.drawn = True

    def swap(self, fakes):
        """(B, C, H, W) fakes -> as many, by the last draw, or by one made now."""
        fakes = fakes.detach()
        if not self.size:
            return fakes
        fakes = gather(fakes)
        if not self.drawn:
            self.draw(len(fakes), fakes.device)
        self.drawn = False
        if self.images is None:
            self.images = fakes.new_zeros(self.size, *fakes.shape[1:])
        both = torch.cat([self.images, fakes.to(self.images.dtype)])
        self.images.copy_(both[self.kept])
        return my_part(both[self.shown])

    def state_dict(self):
        return {"held": self.held, "images": self.images, "rng": self.rng.get_state()}

    def load_state_dict(self, state):
        self.held, self.images = state["held"], state["images"]
        self.rng.set_state(state["rng"].cpu())
