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
@click.option("--onnx", is_flag=True, help="Also write OUT-ab.onnx and OUT-ba.onnx.")
@click.option("--torch-export", is_flag=True, help="Also write OUT-ab.pt2 and OUT-ba.pt2.")
def command(folder, out, **formats):
    """Write the generators of a finished run as one file that others can use, OUT.safetensors, and
    beside it OUT.md, which says what they are.

    RUN is the folder of a finished run. `ganlib translate` and ganlib.load take the file. Files of
    other formats hold one generator each, and are run once to see that they give the same."""
    from ganlib.use.export import export, name_others  # takes long to import

    asked = [name for name, wanted in formats.items() if wanted]
    path, card = export(folder, out, asked)
    print(
        f"{printable(path)}: {path.stat().st_size / 1e6:.1f} MB; {printable(card)} says what it is"
    )
    for other in name_others(path, asked):
        print(f"{printable(other)}: {other.stat().st_size / 1e6:.1f} MB")
    return 0


def main(arguments=None):
    """The command line; returns the exit status: 0, or 2 for what cannot be exported."""
    return run(command, "python -m ganlib.use.export_command", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
