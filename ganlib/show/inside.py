"""Pictures of what goes on inside: the patches that a discriminator judges, the two cycles, and
what a transformer looks at."""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import nn

from ganlib.data.domains import to_float
from ganlib.losses import gan_loss
from ganlib.models.coarse import TwoSizes, half


def patch_size(net):
    """(Pixels a side of the patch that one number of a discriminator's map judges; pixels from
    one patch to the next; pixels from the edge to the middle of the first)."""
    size, stride, middle = 1, 1, 0.5
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            kernel, padding = layer.kernel_size[0], layer.padding[0]
            middle += ((kernel - 1) / 2 - padding) * stride
            size += (kernel - 1) * stride
            stride *= layer.stride[0]
    return size, stride, middle


def judges(net):
    """The patch discriminators in a discriminator, {side of their patch in pixels of the image:
    a module or function, images (B, 3, H, W) -> map}: one, or the two of a TwoSizes."""
    if not isinstance(net, TwoSizes):
        return {patch_size(net)[0]: net}
    fine = patch_size(net.fine)[0]
    coarse = 2 * patch_size(net.coarse)[0]
    return {fine: net.fine, coarse: lambda images: net.coarse(half(images))}


def ask(judge, fakes):
    """What a discriminator asks to be changed in fakes (B, 3, H, W) so that it takes them for real:
    the slope of its loss, downwards, in units of its own deviation. What is near 0 is left as it
    is."""
    fakes = fakes.detach().requires_grad_()
    (slope,) = torch.autograd.grad(gan_loss(judge(fakes), 1.0), fakes)
    return -slope / slope.std()


def share_of_shapes(asked):
    """The share of what is asked for (B, 3, H, W) that squares of 4 pixels have as a whole, 0 to
    1: much where shapes are to change, little where texture is."""
    return float(F.avg_pool2d(asked, 4).square().mean() / asked.square().mean())


def show_patches(net, images, labels, width=8.0):
    """The map of a PatchDiscriminator over each of a few images (N, 3, H, W): blue where it says
    real (1), red where it says fake (0). On the first one a number of the map is outlined, and
    above it the patch that this number judges. -> Figure."""
    with torch.no_grad():
        maps = net.head(net.body(images))[:, 0].float().cpu()  # (N, h, w)
    size, stride, middle = patch_size(net)
    n, (h, w) = len(images), images.shape[-2:]
    edge = middle - stride / 2
    reach = edge, edge + maps.shape[2] * stride, edge + maps.shape[1] * stride, edge
    figure, panels = plt.subplots(
        2, n, figsize=(width, 1.78 * width / n + 0.6), dpi=100, squeeze=False, layout="constrained"
    )
    for image, scores, label, (above, below) in zip(images, maps, labels, panels.T):
        for panel in (above, below):
            panel.imshow(to_picture(image), extent=(0, w, h, 0), interpolation="lanczos")
            panel.set_axis_off()
        drawn = below.imshow(
            scores.numpy(), extent=reach, cmap="RdBu", vmin=-0.2, vmax=1.2, alpha=0.65, zorder=2
        )
        for panel in (above, below):
            panel.set(xlim=(0, w), ylim=(h, 0))
        above.set_title(label, fontsize=9)
        below.set_title(f"mean {scores.mean():.2f}", fontsize=9)
    chosen = middle + maps.shape[2] // 8 * stride  # its middle, in pixels, down and to the right
    for panel, side in zip(panels[:, 0], (size, stride)):
        corner = max(0, chosen - side / 2)
        side = chosen + side / 2 - corner
        box = Rectangle((corner, corner), side, side, fill=False, color="C1", linewidth=2, zorder=3)
        panel.add_patch(box)
    bar = figure.colorbar(drawn, ax=panels, ticks=[0, 0.5, 1], fraction=0.02, pad=0.01)
    bar.ax.set_yticklabels(["0: fake", "0.5", "1: real"], fontsize=8)
    return figure


STOPS = 0.12, 0.5, 0.88  # middles of the images of a cycle, in widths of the figure
SIDE = 1.05  # inches of an image in the diagram of the cycles


def show_cycles(images, losses, width=8.0):
    """Both cycles as a diagram, with one image at each place. images: {"real_a", "fake_b",
    "rec_a", "real_b", "fake_a", "rec_b": (3, H, W)}. losses: what to write at the end of each, by
    "a" and "b". -> Figure."""
    height = 4.7
    figure = plt.figure(figsize=(width, height), dpi=100)
    paper = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    paper.set_axis_off()
    for y, side, other in ((3.5, "a", "b"), (1.15, "b", "a")):
        names = f"real_{side}", f"fake_{other}", f"rec_{side}"
        xs = [width * stop for stop in STOPS]
        for x, name in zip(xs, names):
            place_image(paper, images[name], x, y, name)
        ways = f"g_{side}{other}", f"g_{other}{side}"
        for start, end, name in zip(xs, xs[1:], ways):
            place_arrow(paper, (start + SIDE / 2, y), (end - SIDE / 2, y))
            place_box(paper, (start + end) / 2, y, name, "#dbe7f5")
        above = y + SIDE / 2
        place_arrow(paper, (xs[1], above), (xs[1], above + 0.25))
        place_box(paper, xs[1], above + 0.41, f"d_{other}: real or fake?", "#fbe3cf")
        low = y - SIDE / 2 - 0.4
        for start, end in ((xs[0], xs[2]), (xs[2], xs[0])):
            place_arrow(paper, (start, low), (end, low), colour="C2")
        paper.text(xs[1], low - 0.06, losses[side], ha="center", va="top", fontsize=9, color="C2")
    return figure


def place_image(paper, image, x, y, name):
    """An image with its name below, its middle at (x, y) inches."""
    half = SIDE / 2
    paper.imshow(
        to_picture(image),
        extent=(x - half, x + half, y - half, y + half),
        interpolation="lanczos",
        aspect="auto",
    )
    paper.text(x, y - half - 0.17, name, ha="center", fontsize=9)


def place_arrow(paper, start, end, colour="0.3"):
    """An arrow between two places, in inches."""
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", color=colour, linewidth=1.4)
    arrow.set_mutation_scale(12)
    arrow.shrinkA = arrow.shrinkB = 0
    paper.add_patch(arrow)


def place_box(paper, x, y, text, colour):
    """A network as a box with its name."""
    wide = 0.3 + 0.075 * len(text)
    style = "round,pad=0.02,rounding_size=0.08"
    box = FancyBboxPatch((x - wide / 2, y - 0.16), wide, 0.32, boxstyle=style, facecolor=colour)
    box.set(edgecolor="0.4", zorder=3)
    paper.add_patch(box)
    paper.text(x, y - 0.01, text, ha="center", va="center", fontsize=9, zorder=4)


def to_picture(image):
    """An image (3, H, W), uint8 or float in [-1, 1] -> (H, W, 3) in [0, 1] as matplotlib shows
    it."""
    picture = (to_float(image[None].detach().cpu())[0] + 1) / 2
    return picture.clamp(0, 1).permute(1, 2, 0).numpy()


@torch.no_grad()
def find_attention(generator, images):
    """What each transformer block of a UVCGANGenerator attends to in images (N, 3, H, W): a list
    of (N, heads, L, L), a row for each of the L tokens, which sums to 1."""
    blocks, seen, found = generator.vit.blocks, [], []
    hooks = [
        block.norm1.register_forward_hook(lambda layer, given, x: seen.append(x))
        for block in blocks
    ]
    generator(images)
    for hook in hooks:
        hook.remove()
    for block, x in zip(blocks, seen):
        layer = block.attention
        both = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, dim=-1)[:2]
        # (N, heads, L, features / heads) each
        q, k = [part.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for part in both]
        found.append(torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1).cpu())
    return found


def show_attention(images, weights, places, width=8.0):
    """Where some places of each image look. images: (N, 3, H, W); weights: (N, L, L), the
    attention of its tokens. places: {name: (down, right)} in shares of the image. A row an image:
    the places in it, and for each one how much of an equal share every part gets. -> Figure."""
    n, (h, w) = len(images), images.shape[-2:]
    tokens = weights.shape[-1]
    rows = round((tokens * h / w) ** 0.5)  # of the tokens' grid
    columns = tokens // rows
    size = width, 0.93 * width * n / (len(places) + 1) * h / w + 0.3
    figure, panels = plt.subplots(
        n, 1 + len(places), figsize=size, dpi=100, squeeze=False, layout="constrained"
    )
    for image, looks, line in zip(images, weights * tokens, panels):
        picture = to_picture(image)
        line[0].imshow(picture, extent=(0, w, h, 0), interpolation="lanczos")
        for i, (panel, (down, right)) in enumerate(zip(line[1:], places.values())):
            panel.imshow(picture.mean(axis=-1), extent=(0, w, h, 0), cmap="gray")
            token = int(down * rows) * columns + int(right * columns)
            drawn = panel.imshow(
                looks[token].reshape(rows, columns).numpy(),
                extent=(0, w, h, 0),
                cmap="inferno",
                alpha=0.6,
                vmin=0,
                vmax=2,
            )
            for marked in (panel, line[0]):
                marked.plot(right * w, down * h, "o", color=f"C{i}", markeredgecolor="w", ms=7)
        for panel in line:
            panel.set(xlim=(0, w), ylim=(h, 0))
            panel.set_axis_off()
    for panel, name in zip(panels[0], ("places", *places)):
        panel.set_title(name, fontsize=9)
    bar = figure.colorbar(drawn, ax=panels, ticks=[0, 1, 2], fraction=0.02, pad=0.01)
    bar.ax.set_yticklabels(["none", "equal", "double"], fontsize=8)
    return figure
