"""The pool of earlier fakes that the discriminators are shown (SimGAN: Shrivastava et al. 2017,
arXiv 1612.07828, section 2.3)."""

import torch
from torch import Tensor

from ganlib.parallel.ranks import gather_images, my_part


class PlainPool:
    """The pool as published: a list of up to `size` images."""

    def __init__(self, size: int, seed: int):
        self.size = size
        self.images = []
        self.rng = torch.Generator().manual_seed(seed)

    def swap(self, fakes: Tensor) -> Tensor:
        """(B, C, H, W) fakes -> as many, detached: each itself or, once the pool is full, half the
        time an older one, whose place it takes."""
        if not self.size:
            return fakes.detach()
        shown = []
        for image in fakes.detach():
            if len(self.images) < self.size:
                self.images.append(image)
            elif torch.rand((), generator=self.rng) < 0.5:
                k = int(torch.randint(self.size, (), generator=self.rng))
                image, self.images[k] = self.images[k], image
            shown.append(image)
        return torch.stack(shown)


class ImagePool:
    """The same pool with its images in one tensor; draws come from a generator of its own, so that
    they depend on the seed alone.

    What is exchanged is decided on the host by draw; swap then only moves images on their device,
    with shapes that never change. Among several processes the pool is one: each has the whole of
    it, and takes its part of what is shown.
    """

    def __init__(self, size: int, seed: int):
        self.size = size
        self.held = 0
        self.images = None  # (size, C, H, W)
        self.rng = torch.Generator().manual_seed(seed)
        self.shown = self.kept = None  # indices into (pool, new fakes): to show, and to keep
        self.drawn = False

    def clear(self) -> None:
        """Forget what it holds, and take images of another size from now on."""
        self.held = 0
        self.images = None

    def draw(self, n: int, device: torch.device) -> None:
        """Decide on the exchange for the next n fakes."""
        kept = list(range(self.size))
        shown = []
        for image in range(self.size, self.size + n if self.size else 0):
            if self.held < self.size:
                kept[self.held] = image
                self.held += 1
            elif torch.rand((), generator=self.rng) < 0.5:
                k = int(torch.randint(self.size, (), generator=self.rng))
                image, kept[k] = kept[k], image
            shown.append(image)
        if self.shown is None or len(self.shown) != len(shown):
            self.shown = torch.empty(len(shown), dtype=torch.int64, device=device)
            self.kept = torch.empty(len(kept), dtype=torch.int64, device=device)
        copy_indices(shown, self.shown)
        copy_indices(kept, self.kept)
        self.drawn = True

    def swap(self, fakes: Tensor) -> Tensor:
        """(B, C, H, W) fakes -> as many, by the last draw, or by one made now."""
        fakes = fakes.detach()
        if not self.size:
            return fakes
        fakes = gather_images(fakes)
        if not self.drawn:
            self.draw(len(fakes), fakes.device)
        self.drawn = False
        if self.images is None:
            self.images = fakes.new_zeros(self.size, *fakes.shape[1:])
        both = torch.cat([self.images, fakes.to(self.images.dtype)])
        self.images.copy_(both[self.kept])
        return my_part(both[self.shown])

    def state_dict(self) -> dict:
        return {"held": self.held, "images": self.images, "rng": self.rng.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self.held = state["held"]
        self.images = state["images"]
        self.rng.set_state(state["rng"].cpu())


def copy_indices(indices: list[int], into: Tensor) -> None:
    """Write indices into a tensor in place, without waiting for a GPU."""
    new = torch.tensor(indices, dtype=torch.int64)
    into.copy_(new.pin_memory() if into.is_cuda else new, non_blocking=True)
