"""Compare finished runs: scores by model, mean and spread over seeds, and which differences are
established.

    python -m ganlib.compare reports/runs/*                       a table in the terminal
    python -m ganlib.compare RUN RUN --format markdown            or latex, json
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from ganlib.compare.significance import conclude, differences
from ganlib.compare.tables import COSTS, describe, gather, score_columns, significant
from ganlib.errors import InputError
from ganlib.evaluate.scores import SCORES, family
from ganlib.runs.folder import WEIGHTS, read_json
from ganlib.system.command import call


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


def main(arguments=None):
    """The command line; returns the exit status: 0, or 2 for runs that cannot be compared."""
    parser = argparse.ArgumentParser(
        prog="python -m ganlib.compare", description=__doc__.splitlines()[0]
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--format", choices=("text", "markdown", "latex", "json"), default="text")
    parser.add_argument(
        "--weights",
        choices=tuple(WEIGHTS),
        default="ema",
        help="; ".join(f"{k}: {v}" for k, v in WEIGHTS.items()),
    )
    options = parser.parse_args(arguments)
    try:
        table = gather(options.runs, options.weights)
        found = differences(table)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    protocols = read_json(Path(table.folder[0]) / "metrics.json")["protocols"]
    if options.format == "json":
        print(to_json(table, found, protocols, options.weights))
        return 0
    said = [
        *describe_protocols(table, protocols, options.weights),
        *(f"- {line}" for line in conclude(table, found)),
    ]
    if options.format == "latex":
        said = [f"% {line}" for line in said]
    print("\n".join([render(table, options.format), "", *said]))
    return 0


if __name__ == "__main__":
    sys.exit(call(main))
