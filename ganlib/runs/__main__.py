"""Which runs there are: python -m ganlib.runs [FOLDER...] (see --help)."""

import json
import sys

import click

from ganlib.errors import printable
from ganlib.system.command import FOLDER, call, run
from ganlib.system.files import RUNS, expand


@click.command()
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.option("--clean", "cleans", is_flag=True, help="Show what is left over instead.")
@click.option("--yes", is_flag=True, help="With --clean: remove it.")
def command(folders, as_json, cleans, yes):
    """List the runs in a FOLDER, the newest first; else those in reports/runs and
    reports/study/runs.

    KID: of the test images, by the probe; smaller is better.

    Left over are files and folders of processes that were killed, runs that stopped before their
    first checkpoint, and the checkpoints of finished runs. What another process holds is never
    removed, nor what is kept in the repository."""
    if yes and not cleans or as_json and cleans:
        click.get_current_context().fail("--yes goes with --clean, and --json does not")
    from ganlib.runs.kept import KEPT  # take long to import
    from ganlib.runs.listing import clean, list_runs, to_table

    folders = [expand(folder, "folder") for folder in folders]
    if cleans:
        tell_leftovers(clean(folders, yes), yes)
        return 0
    rows = list_runs(folders or [folder for folder in (RUNS, KEPT) if folder.exists()])
    if as_json:
        print(json.dumps(rows, indent=1))
    elif rows:
        print(to_table(rows))
    else:
        print(f"no runs in {', '.join(map(str, folders or (RUNS, KEPT)))}")
    return 0


def tell_leftovers(found, removed):
    """Print what is left over, or was, one after another as it is found."""
    total, any_left = 0.0, False
    for path, size, why in found:
        total, any_left = total + size / 1e6, True
        print(f"{size / 1e6:8.1f} MB  {printable(path)}: {why}", flush=True)
    end = "removed" if removed else "nothing is removed yet; to remove it add --yes"
    print(f"{total:8.1f} MB in all: {end}" if any_left else "nothing is left over")


def main(arguments=None):
    """The command line; returns the exit status: 0, or 2 for a folder that is not there."""
    return run(command, "python -m ganlib.runs", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
