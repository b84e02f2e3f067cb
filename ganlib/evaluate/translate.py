"""Images through a generator, and back."""

import torch

from ganlib.data.domains import Pair, check_images, to_float
from ganlib.errors import InputError
from ganlib.show.progress import Progress

WAYS = {"ab": ("a", "b"), "ba": ("b", "a")}  # direction: source and target domain


@torch.no_grad()
def generate(net, images, batch_size=32):
    """A generator over any number of images, float (N, 3, H, W) in [-1, 1] on the CPU -> the
    same."""
    like = next(net.parameters())
    made = []
    with Progress("translating", len(images), unit="images") as progress:
        for batch in images.split(batch_size):
            made.append(net(batch.to(like.device, like.dtype)).float().cpu())
            progress.add(len(batch))
    return torch.cat(made)


def translate(g_ab, g_ba, pair, idt=False):
    """Both directions of a Pair of images: {real_a, fake_b, rec_a, real_b, fake_a, rec_b}, float
    (N, 3, H, W) on the CPU.

    Every real_a goes to fake_b by g_ab and back to rec_a by g_ba; likewise for B. With idt also
    idt_a = g_ba(real_a), idt_b. Images are uint8, or floats in [-1, 1] (those in 0 to 1 cannot
    be told from them); InputError for anything else, and for a size that the generators cannot
    take."""
    if not isinstance(pair, Pair):
        raise InputError(f"pair: expected a Pair(a, b) of images, not a {type(pair).__name__}")
    check_images(pair.a, "pair.a")
    check_images(pair.b, "pair.b")
    out = {}
    for side, other, there, back in [("a", "b", g_ab, g_ba), ("b", "a", g_ba, g_ab)]:
        real = to_float(getattr(pair, side))
        fake = generate(there, real)
        out |= {f"real_{side}": real, f"fake_{other}": fake, f"rec_{side}": generate(back, fake)}
        if idt:
            out[f"idt_{side}"] = generate(back, real)
    return out


def to_bytes(images):
    """Float images (N, 3, H, W) in [-1, 1] as a file would hold them: uint8, rounded. uint8
    stays as it is."""
    # A loss says of what is not finite
    check_images(images.nan_to_num() if torch.is_tensor(images) else images)
    if images.dtype == torch.uint8:
        return images
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
