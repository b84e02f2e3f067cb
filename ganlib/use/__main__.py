"""Translate pictures by a trained model:

python -m ganlib.use RUN INPUT... --to B --out FOLDER
"""

import sys

import click

from ganlib.errors import printable
from ganlib.system.command import FILE, FOLDER, call, run


@click.command()
@click.argument("folder", metavar="RUN", type=FOLDER)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=FILE)
@click.option("--to", required=True, help="Domain to translate to: A, B, or its name.")
@click.option("--out", required=True, help="Folder for the translations, PNG files.", type=FOLDER)
@click.option(
    "--resize",
    is_flag=True,
    help="First scale and crop pictures to the size that the model was trained at; else each is "
    "translated at its own size.",
)
def command(folder, inputs, to, out, resize):
    """Translate pictures by a trained model.

    RUN is the folder of a finished run (`ganlib runs` lists them), or a model file, which ends in
    .safetensors. INPUT is a file, a folder or a pattern."""
    from ganlib.use.files import translate_files  # take long to import
    from ganlib.use.translator import Translator

    told, kept = translate_files(Translator(folder), inputs, out, to, resize)
    failed = sum(why != "" for why in told.values())
    there = f", {kept} of them before" if kept else ""
    print(f"{len(told) - failed} of {len(told)} files translated{there}: {printable(out)}")
    return 1 if failed else 0


def main(arguments=None):
    """The command line; returns the exit status: 0; 1 where a file was left out; 2 for what
    cannot be done as it was asked for."""
    return run(command, "python -m ganlib.use", arguments)


if __name__ == "__main__":
    sys.exit(call(main))
