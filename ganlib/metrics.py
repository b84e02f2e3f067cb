"""A distance between two sets of images that holds between models, since no network of theirs is in it."""

import torch
import torch.nn.functional as F

from ganlib.data import to_float

PATCH, PER_IMAGE, DIRECTIONS = 7, 64, 256   # patch side; patches an image and level; projections
PROTOCOL = f"sliced Wasserstein x 1000, {PATCH}x{PATCH} patches, {PER_IMAGE} an image, {DIRECTIONS} directions"


def sliced_wasserstein(x, y, seed=0):
    """Sliced Wasserstein distance of two image sets over a Laplacian pyramid (Karras et al. 2018, 1710.10196, sec. 5).

    x, y: (N, C, H, W) in [-1, 1], the larger set cut to the size of the smaller. -> {side of the level: distance * 1000,
    ..., "mean": their mean}; 0 for equal sets, smaller is nearer. Levels halve down to 16 pixels. y is the set to be
    like: its channels' means and deviations are the scale for both. Values depend on N: compare equal N only.
    """
    n = min(len(x), len(y))
    rng = torch.Generator().manual_seed(seed)
    result = {}
    for level_x, level_y in zip(laplacian_pyramid(x[:n]), laplacian_pyramid(y[:n])):
        where = torch.rand(2, n, PER_IMAGE, generator=rng)
        # differs: the paper normalises each set by itself, and so cannot see a wrong colour, brightness or contrast
        mean, deviation = level_y.mean((0, 2, 3), keepdim=True), level_y.std((0, 2, 3), keepdim=True).clamp(min=1e-8)
        patches = [cut_patches((level - mean) / deviation, where) for level in (level_x, level_y)]
        directions = F.normalize(torch.randn(patches[0].shape[1], DIRECTIONS, generator=rng), dim=0)
        projected = [(p @ directions).sort(dim=0).values for p in patches]
        result[level_x.shape[-1]] = 1000 * (projected[0] - projected[1]).abs().mean().item()
    result["mean"] = sum(result.values()) / len(result)
    return result


def laplacian_pyramid(images):
    """Detail at each size from the full one down, and the 16-pixel (or smallest) rest: a list of (N, C, h, w)."""
    images, levels = images.float().cpu(), []
    while min(images.shape[-2:]) >= 32:
        small = F.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True)
        levels.append(images - F.interpolate(small, size=images.shape[-2:], mode="bilinear"))
        images = small
    return levels + [images]


def cut_patches(level, where):
    """Patches at relative corners `where` (2, N, k) of a level (N, C, h, w) -> (N * k, C * PATCH**2)."""
    (n, _, h, w), side = level.shape, min(PATCH, *level.shape[-2:])
    top, left = [(where[i] * (size - side + 1)).long() for i, size in enumerate((h, w))]    # (N, k)
    steps = torch.arange(side)
    rows, columns = top[..., None, None] + steps[:, None], left[..., None, None] + steps    # (N, k, side, 1 or 1, side)
    patches = level.transpose(0, 1)[:, torch.arange(n)[:, None, None, None], rows, columns]     # (C, N, k, side, side)
    return patches.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1)


@torch.no_grad()
def translate_pair(nets, pair, batch_size=32):
    """Both directions of a Pair of test images: {real_a, fake_b, rec_a, idt_a, real_b, ...}, float (N, 3, H, W).

    Every real_a goes to fake_b by g_ab and back to rec_a by g_ba; idt_a is g_ba(real_a). Likewise for B.
    """
    device, out = next(nets.g_ab.parameters()).device, {}
    for side, other, there, back in [("a", "b", nets.g_ab, nets.g_ba), ("b", "a", nets.g_ba, nets.g_ab)]:
        parts = []
        for batch in getattr(pair, side).split(batch_size):
            real = to_float(batch.to(device))
            fake = there(real)
            parts.append([x.float().cpu() for x in (real, fake, back(fake), back(real))])
        for name, batch in zip((f"real_{side}", f"fake_{other}", f"rec_{side}", f"idt_{side}"), zip(*parts)):
            out[name] = torch.cat(batch)
    return out


def score(images):
    """The distances of translate_pair's images that rank models, as a dict; smaller is better in each.

    swd_a: fake_a to real_a, swd_b: fake_b to real_b (the look of the target domain); cycle_l1: mean over both
    directions of |rec - real| in [0, 2] (is the content still there).
    """
    cycle = [(images[f"rec_{side}"] - images[f"real_{side}"]).abs().mean().item() for side in "ab"]
    return {"swd_a": sliced_wasserstein(images["fake_a"], images["real_a"])["mean"],
            "swd_b": sliced_wasserstein(images["fake_b"], images["real_b"])["mean"], "cycle_l1": sum(cycle) / 2}
