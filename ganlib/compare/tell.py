"""A comparison as a table, as sentences, and as JSON."""

import json

import pandas as pd
from tabulate import tabulate

from ganlib.compare.significance import conclude
from ganlib.compare.tables import COSTS, describe, score_columns, significant
from ganlib.evaluate.scores import SCORES, family
from ganlib.runs.folder import WEIGHTS


def render(table, style):
    """Scores and costs, a row each and a column for each model: mean ± deviation over seeds, or
    of one seed the interval."""
    columns = score_columns(table)
    groups = table.groupby("model", sort=False)
    mean = groups[columns + list(COSTS)].mean()
    spread = groups[columns].std()
    seeds = groups.size()
    rows = []
    for name in columns + list(COSTS):
        row = [
            describe(name) + (" ↑" if SCORES[family(name)].better == "more" else " ↓")
            if name in columns
            else COSTS[name]
        ]
        for model in mean.index:
            text = significant(
                mean.loc[model, name],
                spread.loc[model, name] if seeds[model] > 1 and name in columns else None,
            )
            if seeds[model] == 1 and name in columns and text != "-":
                only = table[table.model == model].iloc[0]
                if pd.notna(only[name + "_low"]):
                    text += (
                        f" [{significant(only[name + '_low'])}, "
                        f"{significant(only[name + '_high'])}]"
                    )
            row.append(text)
        rows.append(row)
    heads = [
        f"{model} ({seeds[model]} seed{'s' if seeds[model] > 1 else ''})" for model in mean.index
    ]
    text = tabulate(
        rows,
        ["", *heads],
        tablefmt={"text": "simple", "markdown": "github", "latex": "latex_booktabs"}[style],
        disable_numparse=True,
    )
    for sign, command in (
        (("↓", r"$\downarrow$"), ("↑", r"$\uparrow$"), ("±", r"$\pm$")) if style == "latex" else ()
    ):
        text = text.replace(sign, command)
    return text


def describe_protocols(table, protocols, weights):
    """What the table is of, in sentences."""
    p = protocols["kid_probe"]
    return [
        f"{p['n']['a']} and {p['n']['b']} {p['split']} images of A and B at "
        f"{p['resolution'][0]}x{p['resolution'][1]}, data {p['data']}; weights: "
        f"{WEIGHTS[weights]}.",
        "↓ smaller is better, ↑ more; ± standard deviation over seeds, [] interval of 95 % over "
        "images.",
        "p: Welch's t-test over seeds (other images may say otherwise), adjusted by Holm; effect: "
        "Hedges' g; docs/statistics.md says more.",
    ]


def to_json(table, found, protocols, weights):
    """All of it for scripts; what could not be computed is null."""

    def plain(frame):
        return json.loads(frame.to_json(orient="records"))

    return json.dumps(
        {
            "weights": weights,
            "runs": plain(table),
            "differences": plain(found),
            "conclusions": conclude(table, found),
            "protocols": protocols,
        },
        indent=1,
    )
