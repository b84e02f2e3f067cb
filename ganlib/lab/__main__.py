"""JupyterLab on copies of the notebooks, so that working in them leaves the project's own as
they are.

    python -m ganlib.lab                                            on this machine alone
    python -m ganlib.lab --port 8899 --no-browser                   any arguments of JupyterLab
    python -m ganlib.lab --ip 0.0.0.0 --allow-root                  for other machines too, as root
"""

import hashlib
import json
import os
import sys
from pathlib import Path

import click

from ganlib.errors import InputError
from ganlib.system.command import call, run
from ganlib.system.files import HOME, NOTEBOOKS, write_atomic
from ganlib.system.surroundings import prefer_own_kernel

COPIES = HOME / "notebooks"
ADDRESS = ("--ip", "--ServerApp.ip", "--LabApp.ip")
# Of what a browser sends at once, such as pictures for notebook 06; 10 MiB by default
MOST_BYTES = 100 * 2**20
# No question whether it may fetch news, no news, and no look for a newer version of itself; and
# room for pictures
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    f"--ServerApp.tornado_settings={{'websocket_max_message_size': {MOST_BYTES}}}",
)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("given", metavar="[ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
def command(given):
    """Open copies of the notebooks in JupyterLab, on this machine alone.

    ARGUMENT is any argument of JupyterLab, such as --port 8899; --help-all lists them."""
    try:
        print("\n".join(copy_notebooks(COPIES)), flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = [
        str(Path(__file__).parent),
        os.environ.get("JUPYTER_CONFIG_PATH"),
    ]  # of ours: labconfig/
    prefer_own_kernel()
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, config))
    os.execv(
        sys.executable,
        [sys.executable, "-m", "jupyterlab", *QUIET, *defaults(given), *given, str(COPIES)],
    )


def main(arguments=None):
    """Make the copies that are missing, and become JupyterLab, which asks for its token and
    listens on this machine alone. Returns 2 where they cannot be written."""
    return run(command, "python -m ganlib.lab", arguments)


def defaults(given):
    """The arguments about who may reach JupyterLab, where none of these says it. Root may start
    it on this machine alone: there it needs its token, and whoever starts it is root already.
    Where others reach it root has to say --allow-root."""
    if any(argument.split("=")[0] in ADDRESS for argument in given):
        return []
    return ["--ip=127.0.0.1"] + ["--allow-root"] * (os.geteuid() == 0)


def copy_notebooks(copies):
    """Copy each notebook that the folder `copies` lacks; what is there is never overwritten.
    Returns lines that say where they are, and which of the project's have changed since they
    were copied."""
    said = [f"your copies of the notebooks: {copies}"]
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        mine = copies / path.name
        version = digest_cells(notebook)
        if not mine.exists():
            notebook["metadata"]["ganlib"] = {"copied": version}
            write_atomic(mine, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        elif find_version(mine) != version:
            said.append(
                f"{path.name}: the project has a newer one than your copy; to get it, rename "
                f"{mine} and start again"
            )
    return said


def digest_cells(notebook):
    """A digest of what the cells say, whatever they gave."""
    return hashlib.sha256(
        json.dumps([cell["source"] for cell in notebook["cells"]]).encode()
    ).hexdigest()[:16]


def find_version(path):
    """The digest of the notebook that a copy was made of; None where it does not say."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["metadata"]["ganlib"]["copied"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


if __name__ == "__main__":
    sys.exit(call(main))
