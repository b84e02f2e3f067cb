"""Where things are, how files are replaced whole, and the error that a user's input gets."""

import errno
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "reports" / "runs"


class InputError(ValueError):
    """What the user gave cannot be used: one line that names it, what is expected and what to do.

    Jupyter shows the line alone, without the traceback into the library.
    """

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


def printable(text):
    """The text on one line: what a terminal or page cannot show (line breaks, lone surrogates) as an escape, so that no two
    texts look alike."""
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in str(text))


def explain_no_space(error, path):
    """Turn an OSError for a full disk into an InputError that names the path; raise any other as it is."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise InputError(f"{path}: no space left to write it; free some space and run again") from None
    raise error


def write_atomic(path, content):
    """Write content (str or bytes) to path: the old file stays whole until the new one is whole on disk.

    Raises InputError where the disk is full; no half-written file is left behind.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        explain_no_space(error, path)
    finally:
        part.unlink(missing_ok=True)
