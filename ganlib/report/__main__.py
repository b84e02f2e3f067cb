"""Run the notebooks in order with the parameters of a YAML file and render them as one report.

    python -m ganlib.report quick                    reports/quick.yaml -> reports/quick/report.html
    python -m ganlib.report full                     the study's sizes; made for a GPU
    python -m ganlib.report my.yaml -p steps 500     your own settings, one parameter changed
    python -m ganlib.report quick --resume           only what is missing, changed or failed
    python -m ganlib.report --list                   all reports and runs, and reports/index.html

Beside the page lie the executed notebooks and steps.json: what each was made from, by which
--resume knows."""

import os
import signal
import sys

import click

from ganlib.errors import InputError, printable
from ganlib.system.command import FILE, FOLDER, call, run
from ganlib.system.files import ROOT, SETTINGS, expand


def complete_settings(context, parameter, incomplete):
    """For the shell's completion: the names in reports/, else a file."""
    names = sorted(path.stem for path in SETTINGS.glob("*.yaml"))
    found = [name for name in names if name.startswith(incomplete)]
    return found or FILE.shell_complete(context, parameter, incomplete)


@click.command()
@click.argument("settings", required=False, shell_complete=complete_settings)
@click.option(
    "-p",
    "overrides",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter in every notebook that has it, such as -p steps 500; may be given again. "
    "Parameters stand in the first cell of each notebook.",
)
@click.option(
    "--out", help="Folder of the report; else reports/NAME, with the -p's added.", type=FOLDER
)
@click.option(
    "--resume",
    is_flag=True,
    help="Run only the notebooks that are missing, failed or changed since.",
)
@click.option("--pdf", is_flag=True, help="Also print the page to report.pdf, by Chromium.")
@click.option(
    "--list",
    "lists",
    is_flag=True,
    help="List all reports and runs instead, and write reports/index.html.",
)
def command(settings, overrides, out, resume, pdf, lists):
    """Run the notebooks in order with the parameters of a YAML file and render them as one page.

    SETTINGS is a name in reports/ (quick, seeds, short, study, full) or a YAML file."""
    if lists == bool(settings) or lists and (overrides or out or resume or pdf):
        click.get_current_context().fail("expected SETTINGS, such as quick, or --list alone")
    if lists:
        return list_all()
    try:
        # All that takes long to import
        from ganlib.report import runner
        from ganlib.report.beforehand import check_beforehand
        from ganlib.report.pdf import find_browser, write_pdf
        from ganlib.report.settings import ask, find_settings, name_folder, plan

        if pdf:
            find_browser()  # now, and not after the trainings
        path = find_settings(settings)
        overrides = dict(overrides)
        entries = plan(path, overrides)
        check_beforehand(entries)
        asked = ask(path, overrides)
        out = expand(out, "--out") if out else ROOT / "reports" / name_folder(path, overrides)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{out}: {error.strerror}; expected a folder that can be written"
            ) from None
        with runner.stoppable():
            failed = runner.run(entries, out.resolve(), path.stem, resume, asked)
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
    if pdf:
        print(f"pdf: {printable(write_pdf(out / 'report.html'))}")
    return 1 if failed else 0


def list_all():
    """Print what reports and runs there are, and write the index of them; returns the status."""
    from ganlib.report import index  # takes long to import

    reports, runs = index.list_reports(), index.describe_runs()
    print(f"{index.to_text(reports, index.NONE[0])}\n\n{index.to_text(runs, index.NONE[1])}")
    print(f"\nindex: {printable(index.write_index(index.REPORTS, reports, runs))}")
    return 0


def main(arguments=None):
    """The command line; returns the exit status: 0, 1 where a notebook failed, 2 for input that
    cannot be used and for a disk that is full, 130 after Ctrl-C, 143 after SIGTERM."""
    return run(command, "python -m ganlib.report", arguments)


def leave(status):
    """End the process; after an interrupt at once, since the notebook's thread may still wait
    for its kernel."""
    if status > 128:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(call(main))
