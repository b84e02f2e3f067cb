"""The pictures of a training under way and of one that is over: its losses, and the same faces at
some of its steps."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ganlib.data.domains import to_float

POINTS = 100  # of a curve: with more steps each point is the mean of several
CURVES_HEIGHT = 1.7  # inches
LIVE_ROWS = 4  # moments in a picture that is refreshed
CURVES = {  # title of a panel -> its losses, and what the legend calls them
    "cycle loss": {"cycle": "both directions"},
    "discriminators' losses": {"d_a": "of A", "d_b": "of B"},
    "KID on validation images": {"kid_b": "A to B", "kid_a": "B to A"},
}


def show_strip(strip, width=8.0):
    """The real faces of a Strip and the faces at all its steps, a row each. -> Figure."""
    figure = plt.figure(figsize=(width, strip_height(strip, 1 + len(strip.steps), width)), dpi=100)
    draw_strip(figure, strip, range(len(strip.steps)))
    return figure


def draw_training(history, validations, strip, steps, width=7.0):
    """The curves of a training of so many steps, and below them its faces at the first moment and
    at the last ones, or no faces where strip is None. history: a table of the losses (columns
    split, step, their names). validations: rows of what was validated. -> Figure, of one size for a
    whole training."""
    if strip is None:
        figure = Figure(figsize=(width, CURVES_HEIGHT), dpi=100)
        draw_curves(figure, history[history.split == "train"], validations, steps)
        return figure
    n = len(strip.steps)
    moments = [0, *range(max(1, n - LIVE_ROWS + 1), n)] if n else []
    heights = CURVES_HEIGHT, strip_height(strip, 1 + LIVE_ROWS, width)
    figure = Figure(figsize=(width, sum(heights)), dpi=100)
    above, below = figure.subfigures(2, 1, height_ratios=heights)
    draw_curves(above, history[history.split == "train"], validations, steps)
    draw_strip(below, strip, moments, 1 + LIVE_ROWS)
    return figure


def draw_curves(figure, history, validations, steps):
    """A panel of each of CURVES, empty where there is nothing to draw yet."""
    panels = figure.subplots(1, len(CURVES))
    figure.subplots_adjust(left=0.06, right=0.97, bottom=0.22, top=0.86, wspace=0.22)
    for panel, (title, losses) in zip(panels, CURVES.items()):
        highest = 0.0
        for colour, (name, label) in zip(sns.color_palette(), losses.items()):
            x, y = curve(history, validations, name)
            marker = "o" if len(x) < 10 else None
            panel.plot(x, y, marker=marker, color=colour, label=label, markersize=3, linewidth=1.2)
            highest = max(highest, y.max(initial=0))
        panel.set_title(title, fontsize=9)
        panel.set_xlim(0, steps)
        panel.set_ylim(0, 1.3 * highest or 1)  # with room for the legend
        panel.set_xlabel("step", fontsize=8, labelpad=1)
        panel.tick_params(labelsize=7)
        panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel.grid(alpha=0.25)
        if highest and len(losses) > 1:
            panel.legend(fontsize=7, frameon=False, loc="upper right", ncols=2)
        elif not highest:
            panel.set_yticks([])
    sns.despine(figure)


def curve(history, validations, name):
    """(Steps, values) of a loss: means over parts of the training, or one of each validation."""
    table = history[["step", name]].dropna() if name in history else history[:0]
    if len(table):
        parts = np.arange(len(table)) // -(-len(table) // POINTS)
        means = table.astype(float).groupby(parts).mean()
        return means.step.to_numpy(), means[name].to_numpy()
    rows = [row for row in validations if np.isfinite(row.get(name, np.nan))]
    return np.array([row["step"] for row in rows]), np.array([row[name] for row in rows])


LEFT, TOP, MIDDLE = 0.75, 0.25, 0.12  # inches for the labels, the titles, the gap between both ways


def strip_height(strip, rows, width):
    """The height in inches of a strip of so many rows that is so wide."""
    n = len(strip.real)
    h, w = strip.real.shape[-2:]
    return TOP + rows * (width - LEFT - MIDDLE) / n * h / w


def draw_strip(figure, strip, moments, rows=None):
    """The real faces of a Strip and those of some moments, a row each, A to B beside B to A. rows:
    for how many there is room."""
    width = figure.bbox.width / figure.dpi
    height = figure.bbox.height / figure.dpi
    rows = rows or 1 + len(moments)
    labels = ["real"]
    for i in moments:
        step = strip.steps[i]
        labels.append(f"step {step:,}" if step < 1000 else f"step\n{step:,}")  # for its width
    n = len(strip.real)
    n_a = strip.n_a
    side = (width - LEFT - MIDDLE) / n, (height - TOP) / rows  # of a face, in inches
    ways = [("A to B", 0, n_a, LEFT), ("B to A", n_a, n, LEFT + n_a * side[0] + MIDDLE)]
    for title, first, end, left in ways:
        faces = torch.stack([strip.real, *[strip.fakes[i] for i in moments]])[:, first:end]
        sheet = to_sheet(faces)
        wide = (end - first) * side[0]
        high = len(labels) * side[1]
        box = left / width, 1 - (TOP + high) / height, wide / width, high / height
        axes = figure.add_axes(box)
        axes.imshow(sheet, interpolation="lanczos", aspect="auto")
        axes.set_axis_off()
        axes.set_title(title, fontsize=9, pad=3)
    for row, label in enumerate(labels):
        y = 1 - (TOP + (row + 0.5) * side[1]) / height
        figure.text((LEFT - 0.08) / width, y, label, ha="right", va="center", fontsize=9)


def to_sheet(faces):
    """Faces (rows, N, 3, H, W), uint8 or float in [-1, 1], as one picture with white lines between
    them: (H', W', 3) in [0, 1]."""
    rows, n, _, h, w = faces.shape
    gap = max(1, w // 32)
    sheet = torch.ones(rows, n, 3, h + gap, w + gap)
    sheet[..., :h, :w] = (to_float(faces.flatten(0, 1)).unflatten(0, (rows, n)) + 1) / 2
    return sheet.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1).clamp(0, 1).numpy()
