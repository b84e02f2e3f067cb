"""Weights of the original CycleGAN code as a model of ganlib: ganlib import FOLDER --out NAME"""

import sys

import click

from ganlib.errors import printable
from ganlib.system.command import FILE, FOLDER, call, run


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--out", required=True, help="Name of the file, without .safetensors.", type=FILE)
@click.option(
    "--image-size", default=256, show_default=True, help="Pixels a side of their training."
)
@click.option("--epoch", default="latest", show_default=True, help="Which of the checkpoints.")
def command(folder, out, image_size, epoch):
    """Write the networks of pytorch-CycleGAN-and-pix2pix as one file, OUT.safetensors.

    FOLDER holds latest_net_G_A.pth and latest_net_G_B.pth, as checkpoints/NAME of that code does;
    latest_net_D_A.pth and latest_net_D_B.pth are taken where they lie there. `ganlib translate` and
    ganlib.load take the file, and init_from of `ganlib train` does."""
    from ganlib.use.importer import import_model  # takes long to import

    path = import_model(folder, out, image_size, epoch)
    print(f"{printable(path)}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"`ganlib translate {printable(path)} pictures/ --to B --out translated` uses it")
    return 0


def main(arguments=None):
    """The command line; returns the exit status: 0, or 2 for what cannot be imported."""
    return run(command, "python -m ganlib.use.import_command", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
