"""The command `ganlib`: one subcommand for each thing that there is to do.

Each lives in its room as a click command named `command`, and is imported when it is asked for:
`ganlib --help` imports none of them."""

import os
import sys
from difflib import get_close_matches
from importlib import import_module

import click
from click.shell_completion import CompletionItem, shell_complete

from ganlib.errors import printable
from ganlib.system.command import call, run

# name: (its module, what it does)
COMMANDS = {
    "report": ("ganlib.report.__main__", "Run the notebooks and make one page of them."),
    "train": ("ganlib.train", "Train one run, as a YAML file describes it."),
    "translate": ("ganlib.use.__main__", "Translate pictures by a trained model."),
    "export": ("ganlib.use.export_command", "Write a trained model as one file."),
    "import": ("ganlib.use.import_command", "Take weights of the original CycleGAN code."),
    "compare": ("ganlib.compare.__main__", "Compare the scores of finished runs."),
    "doctor": ("ganlib.doctor.__main__", "Look at a data set before training."),
    "check": ("ganlib.bench.check_command", "See whether this machine trains as it should."),
    "bench": ("ganlib.bench.__main__", "Measure how fast the training step is."),
    "runs": ("ganlib.runs.__main__", "List the runs that there are, and clean up."),
    "faces": ("ganlib.faces.__main__", "Write the built-in faces to a folder."),
    "lab": ("ganlib.lab.__main__", "Open copies of the notebooks in JupyterLab."),
    "keep": ("ganlib.runs.kept", "Keep finished runs in the repository, small."),
}
COMPLETE = "_GANLIB_COMPLETE"  # environment: what a shell asks for to complete a line


class Rooms(click.Group):
    """The subcommands of COMMANDS, each imported when it is called."""

    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, name):
        return import_module(COMMANDS[name][0]).command if name in COMMANDS else None

    def resolve_command(self, ctx, args):
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            close = get_close_matches(name, COMMANDS, 1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            ctx.fail(
                f"{printable(name)[:100]}: no such subcommand{meant}; there are "
                f"{', '.join(COMMANDS)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(self, ctx, incomplete):
        found = []
        for name, (_, text) in COMMANDS.items():
            if name.startswith(incomplete):
                found.append(CompletionItem(name, help=text))
        return found + click.Command.shell_complete(self, ctx, incomplete)


def tell_versions(ctx, parameter, asked):
    """Print the versions of ganlib, Python and torch, where they are asked for."""
    if not asked or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    python = ".".join(map(str, sys.version_info[:3]))
    click.echo(f"ganlib {version('ganlib')}, Python {python}, torch {version('torch')}")
    ctx.exit()


@click.group(cls=Rooms, invoke_without_command=True)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=tell_versions,
    help="Show the versions of ganlib, Python and torch.",
)
@click.pass_context
def command(ctx):
    """Unpaired image translation: CycleGAN and UVCGAN.

    `ganlib COMMAND --help` says more of each command."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


def main(arguments=None):
    """The command line; returns the exit status of the subcommand, or 2 for a line that cannot be
    understood."""
    if arguments is None and COMPLETE in os.environ:
        return shell_complete(command, {}, "ganlib", COMPLETE, os.environ[COMPLETE])
    return run(command, "ganlib", arguments)


def leave(status):
    """End the process, by the `leave` of the subcommand that ran, where it has one."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    module = COMMANDS[name][0] if name in COMMANDS else ""
    getattr(sys.modules.get(module), "leave", sys.exit)(status)


def start():
    """The console script."""
    leave(call(main))
