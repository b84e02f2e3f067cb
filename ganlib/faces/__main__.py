"""Write the built-in faces to a folder: python -m ganlib.faces FOLDER (see --help)."""

import sys
from types import SimpleNamespace

import click

from ganlib.errors import InputError
from ganlib.system.command import FOLDER, call, run


@click.command(context_settings={"show_default": True})
@click.argument("folder", type=FOLDER)
@click.option("--size", default=64, help="Pixels a side.")
@click.option("--train-a", default=3400, help="Anime faces in train.")
@click.option("--train-b", default=3800, help="Selfies in train.")
@click.option("--seed", default=0, help="Another seed, other faces.")
@click.option("--eval", default=300, help="Faces of each domain in val and in test.")
def command(**options):
    """Write the built-in faces to FOLDER, a new or empty one.

    SPLIT/DOMAIN/NNNNN.png, counterparts/SPLIT/DOMAIN/NNNNN.png (the face of that name in the other
    domain; val and test only) and attributes.csv."""
    try:
        from ganlib.faces.export import export  # takes long to import

        export(SimpleNamespace(**options))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def main(arguments=None):
    """Exit status: 0 written, 2 for what cannot be used, 130 after Ctrl-C."""
    return run(command, "python -m ganlib.faces", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
