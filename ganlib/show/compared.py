"""Pictures of several models side by side: their scores by seed, what survives a translation, and
quality against cost."""

import matplotlib.pyplot as plt
import seaborn as sns

STYLES = {"untranslated": ":", "random": "-."}  # lines of the landmarks


def plot_by_seed(table, titles, landmarks):
    """A dot for each run of a table, a panel for each score of titles ({name: title}) and a row for
    each model. landmarks: a table of the scores of translations that no model made, drawn as
    lines. -> Figure."""
    models = table.model.nunique()
    figure, panels = plt.subplots(
        2, 2, figsize=(8, 1.2 + 0.7 * models), dpi=100, sharey=True, layout="constrained"
    )
    for panel, (name, title) in zip(panels.flat, titles.items()):
        sns.stripplot(
            table, x=name, y="model", hue="model", ax=panel, size=6, alpha=0.8, legend=False
        )
        for mark, style in STYLES.items():
            value = landmarks.loc[name, mark]
            panel.axvline(value, color="0.35", linestyle=style, linewidth=1, label=mark)
        panel.set(xlabel=title, ylabel="")
        panel.grid(alpha=0.25, axis="x")
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def plot_agreement(table):
    """How far each attribute (columns) survives by each model (rows): 1 in all images, 0 no more
    than by chance. -> Figure."""
    figure, panel = plt.subplots(
        figsize=(8, 0.9 + 0.27 * len(table)), dpi=100, layout="constrained"
    )
    sns.heatmap(
        table,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 7},
        vmin=0,
        vmax=1,
        cmap="Blues",
        cbar=False,
        ax=panel,
    )
    panel.tick_params(labelsize=8, length=0)
    panel.tick_params("x", rotation=40)
    return figure


def plot_costs(costs, quality, title):
    """A column of quality of a table of models against each of its other columns. -> Figure."""
    names = [name for name in costs if name != quality]
    figure, panels = plt.subplots(
        1, len(names), figsize=(8, 2.8), dpi=100, sharey=True, layout="constrained"
    )
    for panel, name in zip(panels, names):
        sns.scatterplot(
            costs, x=name, y=quality, hue="model", s=60, ax=panel, legend=panel is panels[0]
        )
        panel.set(xlim=(0, 1.1 * costs[name].max()), ylim=(0, 1.15 * costs[quality].max()))
        panel.set_ylabel(title)
        panel.grid(alpha=0.25)
    panels[0].legend(fontsize=7, loc="lower left")
    sns.despine(figure)
    return figure
