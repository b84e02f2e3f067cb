"""Run the notebooks in order with the parameters of a YAML file and render them as one report.

    python -m ganlib.report quick                    reports/quick.yaml -> reports/quick/report.html
    python -m ganlib.report full                     the study's sizes; made for a GPU
    python -m ganlib.report my.yaml -p steps 500     your own settings, one parameter changed
    python -m ganlib.report quick --resume           only what is missing, changed or failed

Beside the page lie the executed notebooks and steps.json: what each was made from, by which
--resume knows."""

import argparse
import os
import signal
import sys
from pathlib import Path

from ganlib.errors import InputError, printable
from ganlib.report.runner import run, stoppable
from ganlib.report.settings import ask, find_settings, name_folder, plan
from ganlib.system.command import call
from ganlib.system.files import ROOT, expand


def main(arguments=None):
    """The command line; returns the exit status: 0, 1 where a notebook failed, 2 for input that
    cannot be used and for a disk that is full, 130 after Ctrl-C, 143 after SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m ganlib.report", description=__doc__.splitlines()[0]
    )
    parser.add_argument("settings", help="a name in reports/ (quick, full) or a YAML file")
    parser.add_argument(
        "-p",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        dest="overrides",
        help="set a parameter in every notebook that has it; may be given again",
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the report; default reports/NAME, with the -p's added"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="run only the notebooks that are missing, failed or changed since",
    )
    options = parser.parse_args(arguments)
    try:
        path = find_settings(options.settings)
        overrides = dict(options.overrides)
        entries = plan(path, overrides)
        asked = ask(path, overrides)
        out = (
            expand(options.out, "--out")
            if options.out
            else ROOT / "reports" / name_folder(path, overrides)
        )
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{out}: {error.strerror}; expected a folder that can be written"
            ) from None
        with stoppable():
            failed = run(entries, out.resolve(), path.stem, options.resume, asked)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {printable(error.filename or out)}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        number, told = (
            *(stop.args or [signal.SIGINT]),
            "no report rendered; --resume goes on from what is finished",
        )[:2]
        print("\r\033[K" if sys.stderr.isatty() else "", end="", file=sys.stderr)
        print(f"interrupted: {told}", file=sys.stderr)
        return 128 + number
    return 1 if failed else 0


def leave(status):
    """End the process; after an interrupt at once, since the notebook's thread may still wait
    for its kernel."""
    if status > 128:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(call(main))
