"""Compare finished runs: scores by model, mean and spread over seeds, and which differences are
established.

    python -m ganlib.compare reports/runs/*                       a table in the terminal
    python -m ganlib.compare RUN RUN --format markdown            or latex, json
"""

import sys
from pathlib import Path

import click

from ganlib.errors import InputError
from ganlib.runs.folder import WEIGHTS, read_json
from ganlib.system.command import FOLDER, call, run


@click.command()
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--format",
    "style",
    type=click.Choice(("text", "markdown", "latex", "json")),
    default="text",
    show_default=True,
    help="How the table is written.",
)
@click.option(
    "--weights",
    type=click.Choice(tuple(WEIGHTS)),
    default="ema",
    show_default=True,
    help="; ".join(f"{k}: {v}" for k, v in WEIGHTS.items()) + ".",
)
def command(folders, style, weights):
    """Compare finished runs: scores by model, mean and spread over seeds, and which differences
    are established.

    RUN is the folder of a finished run."""
    from ganlib.compare.significance import conclude, differences  # take long to import
    from ganlib.compare.tables import gather
    from ganlib.compare.tell import describe_protocols, render, to_json

    try:
        table = gather(folders, weights)
        found = differences(table)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    protocols = read_json(Path(table.folder[0]) / "metrics.json")["protocols"]
    if style == "json":
        print(to_json(table, found, protocols, weights))
        return 0
    said = [
        *describe_protocols(table, protocols, weights),
        *(f"- {line}" for line in conclude(table, found)),
    ]
    if style == "latex":
        said = [f"% {line}" for line in said]
    print("\n".join([render(table, style), "", *said]))
    return 0


def main(arguments=None):
    """The command line; returns the exit status: 0, or 2 for runs that cannot be compared."""
    return run(command, "python -m ganlib.compare", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
