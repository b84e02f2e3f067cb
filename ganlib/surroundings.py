"""What other programs take from the environment, put right where a notebook would fail by it: folders and kernels."""

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from ganlib.files import CACHE

JUPYTER = Path(__file__).parent / "jupyter"     # its kernel python3 is the Python that starts it


def replace_unwritable():
    """Name another folder for each of matplotlib, IPython, Jupyter and the caches whose own cannot be made or written, as where the home
    folder is read-only: one in ganlib's cache, or one that goes when this process ends. Before they are imported, or they would warn."""
    home = os.path.expanduser("~")
    config, caches, data = [os.environ.get(f"XDG_{name}_HOME") or f"{home}/{folder}" for name, folder in
                           (("CONFIG", ".config"), ("CACHE", ".cache"), ("DATA", ".local/share"))]
    own = {"MPLCONFIGDIR": (f"{config}/matplotlib", f"{caches}/matplotlib"), "IPYTHONDIR": (f"{home}/.ipython",),
           "JUPYTER_CONFIG_DIR": (f"{home}/.jupyter",), "JUPYTER_DATA_DIR": (f"{data}/jupyter",),
           "JUPYTER_RUNTIME_DIR": (os.environ.get("JUPYTER_DATA_DIR", f"{data}/jupyter") + "/runtime",),
           "TORCH_HOME": (f"{caches}/torch",), "HF_HOME": (f"{caches}/huggingface",), "XDG_CACHE_HOME": (caches,)}
    for name, folders in own.items():
        if not all(map(is_writable, [os.environ[name]] if os.environ.get(name) else folders)):
            os.environ[name] = f"{spare_folder()}/{name.lower()}"


def is_writable(folder):
    """Whether a folder can be written, or made."""
    there = next((parent for parent in (Path(folder), *Path(folder).parents) if os.path.exists(parent)), Path(folder))
    return os.path.isabs(folder) and os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


@cache
def spare_folder():
    """A folder that can be written."""
    with suppress(OSError):
        CACHE.mkdir(parents=True, exist_ok=True)    # which IPython does not make
        if is_writable(CACHE):
            return CACHE
    folder = tempfile.mkdtemp(prefix="ganlib-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def prefer_own_kernel():
    """Have the kernels that this process starts run its own Python and show figures inline, whatever kernels and backend the environment names."""
    others = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    os.environ["JUPYTER_PATH"] = os.pathsep.join([str(JUPYTER), *(path for path in others if path not in ("", str(JUPYTER)))])
    os.environ.pop("MPLBACKEND", None)      # a kernel's own is inline
