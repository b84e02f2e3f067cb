"""Small data and a small config for all tests."""

import fcntl
import math
import os
import signal
import tempfile
from functools import cache
from pathlib import Path

# As a job in the background has it, and would hand it down.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Of the make that runs the tests, and not for those that they run.
for name in ("MAKEFLAGS", "MAKELEVEL", "CONSTRAINTS", "PYTHON"):
    os.environ.pop(name, None)
# Before torch, and for every kernel: committed numbers and equal runs are the CPU's.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Likewise: a worker of pytest-xdist for each core, and sums that come out the same on any number.
os.environ["OMP_NUM_THREADS"] = "1"
FRESH = tempfile.TemporaryDirectory(prefix="ganlib-")
CACHE = Path(FRESH.name) / "cache"
if "PYTEST_XDIST_WORKER" in os.environ:  # all have the probes that one of them has trained
    CACHE.symlink_to(Path(os.environ["GANLIB_HOME"]) / "cache")
else:
    CACHE.mkdir()
# Likewise: runs and probes are trained now, and not those of an earlier day.
os.environ["GANLIB_HOME"] = FRESH.name

import ganlib  # noqa: F401 (before torch, which reads once how its threads wait)

# isort: split
import pytest
import torch

from ganlib.config import TrainConfig
from ganlib.data.domains import load_domains
from ganlib.evaluate import probe
from ganlib.runs import keeper
from ganlib.show import progress as show_progress
from ganlib.system.surroundings import prefer_own_kernel

prefer_own_kernel()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """As many workers as this process may use cores: what `-n auto` means."""
    return min(len(os.sched_getaffinity(0)), 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out single tests, and together only what shares what is made once (see shared_by).
    pytest-xdist's own groups need an older pytest than 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return shared_by(nodeid)

    config.option.loadscopereorder = False  # as collected
    return Scheduler(config, log)


def shared_by(nodeid):
    """What a test shares with others, which run in the same worker, one after the other: the
    kernel of its notebook, or its module, where that has fixtures of the module; else itself."""
    path = nodeid.split("::")[0]
    if path.endswith(".ipynb"):
        return Path(path).stem
    if "test_committed_numbers" in nodeid:
        return nodeid.rpartition("[")[2].rstrip("]")
    return path if has_fixtures_of_its_own(path) else nodeid


@cache
def has_fixtures_of_its_own(path):
    return 'scope="module"' in (Path(__file__).parents[1] / path).read_text(encoding="utf-8")


ORDER = ("02", "01", "05", "03", "04")  # 03 and 04 find the probe that 02 has trained


def pytest_collection_modifyitems(items):
    """First what takes longest: notebooks, and behind them what looks at their outputs."""

    def turn(item):
        if item.path.suffix == ".ipynb":
            number = item.path.stem[:2]
            return ORDER.index(number) if number in ORDER else len(ORDER)
        return len(ORDER) + (1 if "test_committed_numbers" in item.name else 2)

    items.sort(key=turn)


EXECUTED = {}  # of what nbval has run, {name of a notebook: {number of a cell: its outputs}}
SLOW = 5  # seconds of a processor from which on a test is to be marked `slow`


class Watch:
    """Keeps what nbval's cells give, and how long each test took. A plugin: hooks of this file see
    only tests of its folder."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        begun = count_seconds()
        try:
            return (yield)
        finally:
            item.user_properties.append(("seconds", count_seconds() - begun))
            if item.path.suffix == ".ipynb":
                EXECUTED.setdefault(item.path.stem, {})[item.cell_num] = item.test_outputs


def count_seconds():
    """Seconds that this process and those that it started and that have ended have computed."""
    return sum(os.times()[:4])


def pytest_configure(config):
    config.pluginmanager.register(Watch())


def pytest_terminal_summary(terminalreporter):
    """Tell which tests are slow and not marked so, and hold up `make test-fast`."""
    lines = []
    for report in terminalreporter.stats.get("passed", []):
        seconds = dict(report.user_properties).get("seconds", 0)
        if seconds > SLOW and "slow" not in report.keywords and ".ipynb" not in report.nodeid:
            lines.append(f"{seconds:6.1f} s  {report.nodeid}")
    if lines:
        terminalreporter.section("slow, and not marked so: mark them, for make test-fast")
        terminalreporter.write_line("\n".join(sorted(lines, reverse=True)))


@pytest.fixture
def executed():
    """A function that gives the outputs of all code cells of a notebook, run on its defaults by
    nbval; None where that has not been asked to."""

    def outputs(name, n_cells):
        found = EXECUTED.get(name, {})
        return [found[i] for i in range(n_cells)] if len(found) == n_cells else None

    return outputs


@pytest.fixture(autouse=True)
def one_thread():
    """Whatever the test before this one has left."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def quick_probes():
    """Where it does not matter how well a probe measures; of the hundreds of images that matter
    it is trained as ever."""
    probe.LEAST_STEPS = 20


@pytest.fixture(scope="session", autouse=True)
def no_line_a_minute():
    """However slow the machine, what a training says is the same."""
    show_progress.EVERY = keeper.SLOW = math.inf


@pytest.fixture(scope="session")
def faces(quick_probes):
    """Built-in faces at 32 pixels: 12 of A, 14 of B, 5 of each in val and test."""
    return with_quick_probe(load_domains("builtin", 32, builtin_a=12, builtin_b=14, builtin_eval=5))


def with_quick_probe(images):
    """The images, with a quick probe of them in the cache, for processes that a test starts."""
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # against the other workers
        probe.find_probe(images)
    return images


@pytest.fixture(scope="session")
def tiny():
    """A function that makes a config small enough for a test; its arguments change fields."""

    def make(recipe="cyclegan", **values):
        small = dict(image_size=32, ngf=4, ndf=4, batch_size=2, steps=6, precision="float32")
        return TrainConfig.from_recipe(recipe, **(small | values))

    return make
