"""Where things are, how files are replaced whole, and the error that a user's input gets."""

import errno
import fcntl
import os
import shutil
import socket
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from ganlib.errors import InputError, printable

PACKAGE = Path(__file__).resolve().parents[1]
# The source tree, or what a wheel installed: that has notebooks and settings in the package.
IN_TREE = (PACKAGE.parent / "pyproject.toml").is_file()
ROOT = PACKAGE.parent if IN_TREE else Path.cwd()
NOTEBOOKS = (ROOT if IN_TREE else PACKAGE) / "notebooks"
SETTINGS = ROOT / "reports" if IN_TREE else PACKAGE / "settings"
# GANLIB_HOME: another folder, where the source tree cannot be written. A ~ of nobody stays here,
# and is told by check_home.
HOME = Path(os.path.expanduser(os.environ.get("GANLIB_HOME") or ROOT / "reports")).absolute()
RUNS = HOME / "runs"
CACHE = HOME / "cache"


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def expand(path, what="path"):
    """The Path of a path that a user gave: ~ is the home folder, ~NAME that of a user. InputError
    where there is no such user.

    Every path goes through here once, from wherever it was given. $NAMES are left to the shell.
    """
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):  # ValueError: a name with a NUL
        raise InputError(
            f"{what} {printable(path)}: no home folder is known for its ~; write the whole path"
        ) from None


def check_home():
    """Raise InputError where GANLIB_HOME cannot be used: now, and not when a run is written."""
    expand(os.environ.get("GANLIB_HOME", ""), "GANLIB_HOME")


def raise_unwritable(error, path, needed=None):
    """Raise an OSError of writing as an InputError that names the path: a full disk (needed:
    bytes), a folder that cannot be written; any other as it is."""
    if error.errno in NO_SPACE:
        facts = [f"{needed:,} bytes are needed"] if needed else []
        with suppress(OSError):
            facts.append(f"{shutil.disk_usage(Path(path).parent).free:,} are free")
        facts += (
            ["the limit is that of a single file, ulimit -f"] if error.errno == errno.EFBIG else []
        )
        raise InputError(
            f"{path}: no space left to write it{' (' + ', '.join(facts) + ')' if facts else ''}; "
            "free some space and run again"
        ) from None
    if error.errno in (
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
    ):
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); choose another folder (--out of a "
            "report), or set GANLIB_HOME to one for runs and cache"
        ) from None
    raise error


def write_atomic(path, *content):
    """Write content (str or bytes, one piece or several) to path: the old file stays whole until
    the new one is whole on disk, and then is there after a crash too.

    Raises InputError where the disk is full or the folder cannot be written; no half-written
    file is left behind."""
    path = Path(path)
    content = [piece.encode() if isinstance(piece, str) else piece for piece in content]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise_unwritable(error, path, sum(map(len, content)))
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def sync_folder(folder):
    """Have the names in a folder on disk, as far as its file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def locked(path, what):
    """Hold the lock file `path` while the block runs, for `what` (in words). InputError names
    who holds it already; a lock whose process is dead holds nobody up. On a file system without
    locks there is none."""
    path = Path(path)
    file = None
    for _ in range(10):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+", encoding="utf-8", errors="replace")
        except FileNotFoundError:  # in /proc
            raise InputError(
                f"{path.parent}: cannot be made there; choose another folder"
            ) from None
        except OSError as error:
            raise_unwritable(error, path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = printable(file.read().strip()[:200]) or "another process"
            file.close()
            raise InputError(
                f"{what}: in use by {holder}; wait until that has ended, or choose another folder"
            ) from None
        except OSError:  # it has no locks
            pass
        else:
            with suppress(OSError):
                # And not one that its holder has just removed
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    break
        file.close()
    if file.closed:
        print(
            f"warning: {path}: no lock is to be had on this file system; see to it that nobody "
            "else works there"
        )
        yield
        return
    try:
        with suppress(OSError):  # on a full disk the holder has no name
            file.truncate(0)
            file.write(
                f"process {os.getpid()} on {socket.gethostname()}, since "
                f"{datetime.now():%Y-%m-%d %H:%M}"
            )
            file.flush()
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        with suppress(OSError):
            file.close()


def find_holder(path):
    """Who holds the lock file `path`, in words, or None. On a file system without locks nobody
    does."""
    with suppress(OSError):
        with open(path, encoding="utf-8", errors="replace") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return printable(file.read().strip()[:200]) or "another process"
    return None
