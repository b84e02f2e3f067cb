"""What other programs take from the environment, put right where a notebook would fail by it."""

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from ganlib.system.files import CACHE

JUPYTER = Path(__file__).parents[1] / "lab"  # its kernel python3 is the Python that starts it
SPINS = "1000"  # how often a thread looks for work before it sleeps


def wait_briefly():
    """Let the threads of torch that wait for each other sleep soon, in this process and in those
    that it starts. They would keep a core busy that another process needs: beside other work a
    training then takes six to ten times as long. Before torch is loaded, which reads this once.
    What the user has set stays."""
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def replace_unwritable():
    """Name another folder for each of matplotlib, IPython, Jupyter and the caches whose own cannot
    be made or written, as where the home folder is read-only: one in ganlib's cache, or one that
    goes when this process ends. Before they are imported, or they would warn."""
    home = os.path.expanduser("~")
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    caches = os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    data = os.environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    jupyter = os.environ.get("JUPYTER_DATA_DIR") or f"{data}/jupyter"
    own = {
        "MPLCONFIGDIR": (f"{config}/matplotlib", f"{caches}/matplotlib"),
        "IPYTHONDIR": (f"{home}/.ipython",),
        "JUPYTER_CONFIG_DIR": (f"{home}/.jupyter",),
        "JUPYTER_DATA_DIR": (jupyter,),
        "JUPYTER_RUNTIME_DIR": (f"{jupyter}/runtime",),
        "TORCH_HOME": (f"{caches}/torch",),
        "HF_HOME": (f"{caches}/huggingface",),
        "XDG_CACHE_HOME": (caches,),
    }
    for name, folders in own.items():
        if not all(map(is_writable, [os.environ[name]] if os.environ.get(name) else folders)):
            os.environ[name] = f"{spare_folder()}/{name.lower()}"


def is_writable(folder):
    """Whether a folder can be written, or made."""
    there = Path(folder)
    while not os.path.exists(there) and there != there.parent:
        there = there.parent
    return os.path.isabs(folder) and os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


@cache
def spare_folder():
    """A folder that can be written."""
    with suppress(OSError):
        CACHE.mkdir(parents=True, exist_ok=True)  # which IPython does not make
        if is_writable(CACHE):
            return CACHE
    folder = tempfile.mkdtemp(prefix="ganlib-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def prefer_own_kernel():
    """Have the kernels that this process starts run its own Python and show figures inline,
    whatever kernels and backend the environment names."""
    others = [path for path in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if path]
    os.environ["JUPYTER_PATH"] = os.pathsep.join(dict.fromkeys([str(JUPYTER), *others]))
    os.environ.pop("MPLBACKEND", None)  # a kernel's own is inline
