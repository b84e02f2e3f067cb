"""Pictures of how fast a step is: kinds are the reference, `reference`, and the step that trains,
`ganlib`, as python -m ganlib.bench names them in the files that it writes."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOURS = {"reference": "0.45", "ganlib": "C0"}
LINES = "-", "--"


def plain_numbers(axis):
    """Put numbers as people write them on a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def plot_curves(curves, losses):
    """Learning curves of both kinds of step, a panel a loss. curves: {label: table with columns
    KIND.LOSS, by step}. -> Figure."""
    figure, panels = plt.subplots(
        1, len(losses), figsize=(8, 2.6), dpi=100, squeeze=False, layout="constrained"
    )
    for panel, loss in zip(panels.flat, losses):
        for kind, colour in COLOURS.items():
            for (label, table), style in zip(curves.items(), LINES):
                curve = table[f"{kind}.{loss}"]
                panel.plot(
                    curve, color=colour, linewidth=1.4, linestyle=style, label=f"{kind}, {label}"
                )
        panel.set(title=loss, xlabel="step")
        panel.grid(alpha=0.25)
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=4, frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def plot_speed(table):
    """Pairs a second of both kinds (columns) at each size (rows), with the `ratio` beside. ->
    Figure."""
    figure, panel = plt.subplots(
        figsize=(8, 0.8 + 0.42 * len(table)), dpi=100, layout="constrained"
    )
    kinds = ["reference, pairs/s", "ganlib, pairs/s"]
    bars = table.reset_index(names="size").melt("size", kinds, var_name="step", value_name="speed")
    sns.barplot(bars, y="size", x="speed", hue="step", palette=["0.7", "C0"], ax=panel)
    panel.set(ylabel="", xlabel="pairs per second")
    panel.legend(frameon=False, fontsize=8)
    for bar, ratio in zip(panel.containers[1], table.ratio):
        place = bar.get_width(), bar.get_y() + bar.get_height() / 2
        panel.annotate(f" {ratio:.2f} times", place, va="center", fontsize=8)
    sns.despine(figure)
    return figure


def plot_shares(shares):
    """What each phase (columns) takes of the time of a step, in percent, a bar a row. -> Figure."""
    axes = shares.plot.barh(
        stacked=True,
        figsize=(8, 0.9 + 0.42 * len(shares)),
        width=0.7,
        colormap="tab20",
        xlabel="% of the step's time",
    )
    axes.invert_yaxis()
    axes.legend(ncols=3, fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(-0.3, 1))
    sns.despine()
    return axes.figure


def to_roofline(measured):
    """The place of a measurement under the roof: operations for each byte, and how much is reached
    of the roof and of the peak."""
    peak, copy = measured["peak"][measured["precision"]], measured["peak"]["copy"]
    reach = measured["flops_per_pair"] / measured["bytes_per_pair"]
    speed = measured["flops_per_second"]
    return {
        "FLOP a byte": reach,
        "GFLOP/s": speed / 1e9,
        "of the roof, %": 100 * speed / min(peak, reach * copy),
        "of the matrix peak, %": 100 * measured["share_of_peak"],
    }


def plot_roofline(kept):
    """Measurements ({label: one of ganlib.bench}) under the roof of each machine that they were
    made on. -> Figure."""
    figure, panel = plt.subplots(figsize=(8, 3.4), dpi=100, layout="constrained")
    roofs = {}
    for label, measured in kept.items():
        roofs[measured["device"]] = (
            measured["peak"][measured["precision"]],
            measured["peak"]["copy"],
        )
        place = to_roofline(measured)
        panel.scatter(place["FLOP a byte"], place["GFLOP/s"], s=45, zorder=3, label=label)
    for peak, copy in roofs.values():
        x = [1, peak / copy, 1000]
        y = [min(peak, value * copy) / 1e9 for value in x]
        panel.plot(x, y, color="0.4", linewidth=1.2)
        text = f"peak {peak / 1e9:.0f} GFLOP/s"
        panel.annotate(text, (1000, peak / 1e9), ha="right", va="bottom", fontsize=8)
        text = f"  memory, {copy / 1e9:.0f} GB/s"
        panel.annotate(text, (1.6, 1.5 * copy / 1e9), fontsize=8)
    panel.set(xscale="log", yscale="log", xlabel="FLOP for each byte moved", ylabel="GFLOP/s")
    plain_numbers(panel.xaxis)
    plain_numbers(panel.yaxis)
    panel.legend(fontsize=8, frameon=False, loc="lower right")
    panel.grid(alpha=0.25)
    sns.despine(figure)
    return figure


def plot_growth(grown, titles):
    """Speed and memory as one size after another grows (titles: {size: title}), and what the
    operations alone would let expect of the speed. -> Figure."""
    figure, panels = plt.subplots(
        2, len(titles), figsize=(8, 4.4), dpi=100, sharex="col", layout="constrained"
    )
    for column, (name, title) in zip(panels.T, titles.items()):
        part = grown[grown.varied == name]
        speed, cost = part.pairs_per_second, part.gflop_per_pair
        column[0].plot(part.value, speed, "o-", color="C0", label="measured")
        expected = speed.iloc[0] * cost.iloc[0] / cost
        column[0].plot(part.value, expected, ":", color="0.4", label="by the operations")
        column[1].plot(part.value, part.memory_mib, "o-", color="C1")
        column[0].set(xscale="log", yscale="log", title=title)
        column[1].set(xscale="log", yscale="log", xlabel=title)
        column[1].set_xticks(part.value, part.value.astype(str))
        column[1].minorticks_off()
        for panel in column:
            plain_numbers(panel.yaxis)
            panel.grid(alpha=0.25)
    panels[0, 0].set_ylabel("pairs per second")
    panels[1, 0].set_ylabel("memory of a step, MiB")
    panels[0, 0].legend(fontsize=8, frameon=False)
    sns.despine(figure)
    return figure
