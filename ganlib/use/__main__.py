"""Translate pictures by a trained model:

python -m ganlib.use RUN INPUT... --to B --out FOLDER
"""

import argparse
import sys

from ganlib.errors import printable
from ganlib.system.command import call
from ganlib.use.files import translate_files
from ganlib.use.translator import Translator


def main(arguments=None):
    """The command line; returns the exit status: 0; 1 where a file was left out; 2 for what
    cannot be done as it was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m ganlib.use", description="Translate pictures by a trained model."
    )
    parser.add_argument("run", help="folder of a finished run, or of one in reports/study/runs")
    parser.add_argument("inputs", nargs="+", metavar="input", help="file, folder or pattern")
    parser.add_argument("--to", required=True, help="domain to translate to: A, B, or its name")
    parser.add_argument("--out", required=True, help="folder for the translations, PNG files")
    parser.add_argument(
        "--resize",
        action="store_true",
        help="first scale and crop pictures to the size that the model was trained at; else each "
        "is translated at its own size",
    )
    options = parser.parse_args(arguments)
    translator = Translator(options.run)
    told = translate_files(translator, options.inputs, options.out, options.to, options.resize)
    failed = sum(why != "" for why in told.values())
    print(f"{len(told) - failed} of {len(told)} files translated: {printable(options.out)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(call(main))
