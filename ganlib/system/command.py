"""How each command line of ganlib begins and ends: odd terminals, readers that go away, Ctrl-C."""

import os
import select
import signal
import sys

import click
from click.shell_completion import CompletionItem

from ganlib.errors import InputError, one_line
from ganlib.system.files import NO_SPACE, check_home


def call(main):
    """Run main, a command line that returns its exit status; returns the one to end the process by.

    What the terminal cannot show of a text is written as an escape. Where the reader of the output
    has gone (`| head -1`) the command ends without a word, with 141, as a shell has it of others.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        try:
            check_home()
            status = main()
        except SystemExit as end:  # of a signal, for instance
            status = end.code
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        sys.stdout.flush()
        sys.stderr.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        if isinstance(error, BrokenPipeError) and any(map(is_unread, (sys.stdout, sys.stderr))):
            status = 128 + signal.SIGPIPE
        elif error.errno in NO_SPACE and not error.filename:
            print(f"error: standard output: {error.strerror}", file=sys.stderr)
            status = 2
        else:
            raise
        # or Python tells of what is left in it as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if is_unread(sys.stderr):
            os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
        return status


def run(command, prog, arguments=None):
    """Parse arguments (None: those of this process) by a click command and call it; returns what
    it returns, its exit status. Arguments that it does not take are told in one line: 2."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with command.make_context(prog, given) as context:
            return command.invoke(context)
    except click.exceptions.Exit as end:  # of --help
        return end.exit_code
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        asked = context.command_path if context else prog
        if not context and isinstance(command, click.Group):
            asked = " ".join([prog, *given[:1]])  # of a subcommand's options click does not say it
        told = one_line(" ".join(error.format_message().split())).rstrip(".")
        print(f"error: {told}; see `{asked} --help`", file=sys.stderr)
        return 2


class Place(click.ParamType):
    """A path on a command line, a text; the shell completes it."""

    def __init__(self, name, kind):
        self.name, self.kind = name, kind

    def shell_complete(self, ctx, param, incomplete):
        return [CompletionItem(incomplete, type=self.kind)]


FILE, FOLDER = Place("file", "file"), Place("folder", "dir")


def is_unread(stream):
    """Whether a stream is a pipe whose reader has gone."""
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
