"""The pictures that notebooks draw: grids of images, curves and distributions. All return the
Figure."""

import os

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from IPython import get_ipython
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib_inline.backend_inline import set_matplotlib_formats

from ganlib.data.domains import check_images, to_float
from ganlib.errors import InputError, printable
from ganlib.show.progress import FEED

TRAIN, VAL = "#4c72b0", "#dd8452"
LOSS_TITLES = {
    "g": "generators",
    "d_a": "discriminator A",
    "d_b": "discriminator B",
    "g_adv": "adversarial (g_adv)",
    "cycle": "cycle",
    "idt": "identity (idt)",
    "d_a_real": "D_A on real",
    "d_a_fake": "D_A on fake",
    "d_b_real": "D_B on real",
    "d_b_fake": "D_B on fake",
}
MOST_DRAWN = 24  # characters of a name in a picture


def drawn(name):
    """A name from outside as figures show it: no $ starts mathematics, what the font lacks is an
    escape as in errors.printable, and a long name has its middle left out."""
    glyphs = get_font(findfont(FontProperties())).get_charmap()
    text = "".join(
        c if ord(c) in glyphs else c.encode("unicode_escape").decode() for c in printable(name)
    )
    text = (
        text
        if len(text) <= MOST_DRAWN
        else f"{text[: MOST_DRAWN // 2]}…{text[1 - MOST_DRAWN // 2 :]}"
    )
    return text.replace("$", r"\$")


def show_inline(quality):
    """Have a notebook show each figure below the cell that makes it, as JPEG of this quality (1
    to 95), in matplotlib's own style and in colours that the colour-blind tell apart: whatever
    backend and style MPLBACKEND or a matplotlibrc name. In a report, figures have twice the dots an
    inch: its page shows them at the same size."""
    get_ipython().run_line_magic("matplotlib", "inline")
    matplotlib.rcdefaults()
    sns.set_palette("colorblind")
    dots = {"dpi": 200} if FEED in os.environ else {}
    set_matplotlib_formats("jpeg", pil_kwargs={"quality": quality}, **dots)


def show_grid(rows, labels, width=8.0):
    """A row of pictures for each entry of rows: (N, 3, H, W), uint8 or float in [-1, 1], shown as
    (x + 1) / 2.

    No picture is stretched in contrast. labels: a text beside each row, of lines that are each
    drawn as `drawn` says. width in inches. InputError for rows of other values or of pictures of
    several sizes. -> Figure."""
    pictures = [torch.as_tensor(row) for row in rows]
    for i, row in enumerate(pictures):
        check_images(row, f"row {i + 1}")
        if row.shape[2:] != pictures[0].shape[2:]:
            raise InputError(
                f"row {i + 1} of shape {tuple(row.shape)}: expected pictures of one size, as in "
                "the first row"
            )
    pictures = [to_float(row) for row in pictures]
    n = max(len(row) for row in pictures)
    h, w = pictures[0].shape[-2:]
    gap = max(1, w // 32)
    sheet = torch.ones(3, len(rows) * (h + gap) - gap, n * (w + gap) - gap)
    for i, row in enumerate(pictures):
        for j, picture in enumerate(row):
            sheet[:, i * (h + gap) : i * (h + gap) + h, j * (w + gap) : j * (w + gap) + w] = (
                picture.clamp(-1, 1)
            )
    left = 0.9 / width  # room for the labels, in inches
    height = width * (1 - left) * sheet.shape[1] / sheet.shape[2]
    figure = plt.figure(figsize=(width, height), dpi=100)
    axes = figure.add_axes((left, 0, 1 - left, 1))
    axes.imshow(((sheet + 1) / 2).permute(1, 2, 0).numpy(), interpolation="lanczos", aspect="auto")
    axes.axis("off")
    for i, label in enumerate(labels):
        label = "\n".join(map(drawn, label.split("\n")))
        axes.text(
            -0.01,
            1 - (i * (h + gap) + h / 2) / sheet.shape[1],
            label,
            ha="right",
            va="center",
            transform=axes.transAxes,
            fontsize=10 if label.count("\n") < 3 else 8,
        )
    return figure


def plot_losses(history, names, columns=3):
    """Losses by epoch, the mean over each epoch's training steps against validation: a panel for
    each name. -> Figure.

    history: the table of a Run (columns split, epoch, step and the losses). A loss that was not
    computed has no panel."""
    names = [name for name in names if history[name].notna().any()]
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(8, 2.3 * rows),
        dpi=100,
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    means = history.groupby(["split", "epoch"])[names].mean().reset_index()
    for panel, name in zip(panels.flat, names):
        for split, colour, label in [("train", TRAIN, "train"), ("val", VAL, "validation")]:
            part = means[means.split == split]
            panel.plot(
                part.epoch,
                part[name],
                color=colour,
                label=label,
                marker="o",
                markersize=2.5,
                linewidth=1.4,
            )
        panel.set_title(LOSS_TITLES.get(name, name), fontsize=10)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.25)
        panel.tick_params(labelsize=8)
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in panels.flat[len(names) :]:
        panel.axis("off")
    # The lowest panel of each column
    for panel in panels.flat[max(0, len(names) - columns) : len(names)]:
        panel.set_xlabel("epoch", fontsize=9)
        panel.tick_params(labelbottom=True)
    panels[0, 0].legend(fontsize=8)
    sns.despine(figure)
    return figure


def show_densities(table, columns, by="domain", per_row=4):
    """How each numeric column of a DataFrame is distributed, a panel a column and a colour for
    each value of `by`. -> Figure."""
    rows = -(-len(columns) // per_row)
    groups = list(table[by].unique())
    colours = dict(zip(groups, sns.color_palette()))
    figure, panels = plt.subplots(
        rows, per_row, figsize=(8, 0.3 + 1.8 * rows), dpi=100, layout="constrained", squeeze=False
    )
    for panel, column in zip(panels.flat, columns):
        ends = table[column].min(), table[column].max()
        sns.kdeplot(
            table,
            x=column,
            hue=by,
            palette=colours,
            fill=True,
            common_norm=False,
            clip=ends,
            ax=panel,
            warn_singular=False,
            legend=False,
        )
        panel.set(ylabel="", yticks=[])
    for panel in panels.flat[len(columns) :]:
        panel.set_visible(False)
    figure.legend(
        handles=[
            Patch(facecolor=(*colours[group], 0.25), edgecolor=colours[group], label=drawn(group))
            for group in groups
        ],
        loc="outside upper left",
        ncols=len(groups),
        frameon=False,
    )
    sns.despine(figure, left=True)
    return figure


def plot_quality(groups, titles, marks=None, log=(), by="step"):
    """How validation figures change with the steps, or another column `by`, a panel for each: mean
    over runs, and a band from the lowest to the highest.

    groups: {label: histories (tables of Runs)}. titles: {column: title}, in order. marks:
    {label: {column: value}}, drawn as dotted lines. log: columns on a logarithmic axis, where a
    mark far below the curves is left out. -> Figure."""
    columns = min(2, len(titles))
    rows = -(-len(titles) // columns)
    figure, panels = plt.subplots(
        rows,
        columns,
        figsize=(8, 0.4 + 2.4 * rows),
        dpi=100,
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for panel, (name, title) in zip(panels.flat, titles.items()):
        for colour, (label, histories) in zip(
            sns.color_palette(n_colors=max(10, len(groups))), groups.items()
        ):
            looked = [h.loc[h.split == "val", [by, name]] for h in histories]
            val = pd.concat(looked).groupby(by)[name]
            panel.plot(
                val.mean(), color=colour, label=label, marker="o", markersize=2.5, linewidth=1.4
            )
            panel.fill_between(
                val.min().index, val.min(), val.max(), color=colour, alpha=0.18, linewidth=0
            )
        panel.set_yscale("log" if name in log else "linear")
        for style, (label, values) in zip((":", "-.", (0, (1, 3))), (marks or {}).items()):
            # One far below would squeeze the curves
            if name not in log or values[name] > panel.get_ylim()[0] / 3 > 0:
                panel.axhline(values[name], color="0.35", linestyle=style, linewidth=1, label=label)
        panel.set_title(title, fontsize=10)
        if name in log:
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.yaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.25)
        panel.tick_params(labelsize=8)
    for panel in panels.flat[len(titles) :]:
        panel.set_visible(False)
    for panel in panels[-1]:
        panel.set_xlabel(by, fontsize=9)
        panel.xaxis.set_major_locator(MaxNLocator(5))  # of long numbers more would touch
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    handles = {
        label: handle
        for panel in panels.flat
        for handle, label in zip(*panel.get_legend_handles_labels())
    }
    figure.legend(
        handles.values(),
        handles,
        loc="outside upper left",
        ncols=min(4, len(handles)),
        frameon=False,
        fontsize=8,
    )
    sns.despine(figure)
    return figure
