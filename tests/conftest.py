"""Small data and a small config for all tests."""

import math
import os
import signal
import tempfile

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:       # as a job in the background has it, and would hand it down
    signal.signal(signal.SIGINT, signal.default_int_handler)
for name in ("MAKEFLAGS", "MAKELEVEL", "CONSTRAINTS", "PYTHON"):   # of the make that runs the tests, and not for those that they run
    os.environ.pop(name, None)
os.environ["CUDA_VISIBLE_DEVICES"] = ""     # before torch, and for every kernel: committed numbers and equal runs are the CPU's
FRESH = tempfile.TemporaryDirectory(prefix="ganlib-")
os.environ["GANLIB_HOME"] = FRESH.name      # likewise: runs and probes are trained now, and not those of an earlier day

import pytest
import torch

from ganlib import loop
from ganlib.config import TrainConfig
from ganlib.data.domains import load_domains
from ganlib.evaluate import probe as evaluate_probe
from ganlib.show import progress as show_progress
from ganlib.system.surroundings import prefer_own_kernel

prefer_own_kernel()


@pytest.fixture(scope="session", autouse=True)
def two_threads():
    torch.set_num_threads(2)


@pytest.fixture(scope="session", autouse=True)
def no_line_a_minute():
    """However slow the machine, what a training says is the same."""
    show_progress.EVERY = loop.SLOW = math.inf


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Probes are trained for the tests, and do not come from an earlier day."""
    evaluate_probe.CACHE = tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def faces():
    """Built-in faces at 32 pixels: 12 of A, 14 of B, 5 of each in val and test."""
    return load_domains("builtin", 32, builtin_a=12, builtin_b=14, builtin_eval=5)


@pytest.fixture
def tiny():
    """A function that makes a config small enough for a test; its arguments change fields."""
    def make(recipe="default", **values):
        return TrainConfig.from_recipe(recipe, **(dict(image_size=32, ngf=4, ndf=4, batch_size=2, steps=6,
                                                       precision="float32") | values))
    return make
