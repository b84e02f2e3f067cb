"""Write a trained model as one file: ganlib export RUN"""

import sys

import click

from ganlib.errors import printable
from ganlib.system.command import FILE, FOLDER, call, run


@click.command()
@click.argument("folder", metavar="RUN", type=FOLDER)
@click.option(
    "--out", default="", help="Name of the file, without .safetensors; else RUN's, here.", type=FILE
)
def command(folder, out):
    """Write the generators of a finished run as one file that others can use, OUT.safetensors, and
    beside it OUT.md, which says what they are.

    RUN is the folder of a finished run. `ganlib translate` and ganlib.load take the file."""
    from ganlib.use.export import export  # takes long to import

    path, card = export(folder, out)
    print(
        f"{printable(path)}: {path.stat().st_size / 1e6:.1f} MB; {printable(card)} says what it is"
    )
    return 0


def main(arguments=None):
    """The command line; returns the exit status: 0, or 2 for what cannot be exported."""
    return run(command, "python -m ganlib.use.export_command", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
