"""Notebooks in a kernel, cell by cell as a browser sends them: bars, the stop button, and what a
failed cell leaves for the next."""

import os
import re
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbval.plugin import get_sanitize_patterns
from test_faults import next_of

from ganlib.lab import cells as lab_cells
from ganlib.system.files import NOTEBOOKS

pytestmark = pytest.mark.slow  # all of them train, or start a kernel or workers

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
HERE = """
import time
from unittest.mock import patch
from ganlib.show.progress import Progress
def here(*_, **__):
    print("here", flush=True)
    time.sleep(60)
"""


class Kernel:
    """A real kernel that is sent one cell after another, each when the one before has ended,
    whether it failed or not."""

    def __init__(self):
        self.manager, self.client = start_new_kernel(
            extra_arguments=["--log-level=40"], env=os.environ | {"OMP_NUM_THREADS": "1"}
        )

    def run(self, code, stop_at=None):
        """(traceback or None, [display_data and update_display_data, their data], what was
        printed). stop_at: interrupt when this was printed."""
        cell, error, shown, said = self.client.execute(code), None, [], ""
        while True:
            message = next_of(self.client.get_iopub_msg, cell, said)
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                next_of(self.client.get_shell_msg, cell, said)
                return error, shown, said
            if kind == "error":
                error = content["traceback"]
            elif kind in ("display_data", "update_display_data"):
                shown.append((kind, content["data"]))
            said += content.get("text", "") if kind == "stream" else ""
            if stop_at and stop_at in said:
                self.manager.interrupt_kernel()
                stop_at = None


@pytest.fixture(scope="module")
def kernel():
    kernel = Kernel()
    try:
        assert kernel.run(HERE)[0] is None
        yield kernel
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


def test_bars_are_drawn_in_one_output_that_is_empty_at_first_and_in_the_end(kernel):
    """So that a comparison of outputs (nbval, git) finds the same whether there was work to do
    or not."""
    error, shown, said = kernel.run("""
from ganlib.show.progress import Progress
with Progress("training", 3) as outer:
    outer.update(1)
    with Progress("scoring", 2, unit="parts"), Progress("a few images", 5, unit="images") as few:
        few.update(4)
    outer.update(2)
with Progress("the next", 1):
    pass
""")
    assert error is None and said == "" and [kind for kind, _ in shown].count("display_data") == 1
    assert shown[0] == ("display_data", {}) and shown[-1] == ("update_display_data", {})
    texts = [data.get("text/plain", "").splitlines() for _, data in shown]
    assert [[line.split(":")[0] for line in lines] for lines in texts] == [
        [],
        ["training"],
        ["training"],
        ["training", "scoring"],
        ["training"],
        ["training"],
        [],
        ["the next"],
        [],
    ]
    assert "| 1/3 [" in texts[3][0] and "| 0/2 [" in texts[3][1]
    assert kernel.run("with Progress('a few images', 5, unit='images') as few: few.add(4)")[1] == []


FACES = """
from pathlib import Path
from ganlib.config import TrainConfig
from ganlib.data.domains import load_domains
drawn = load_domains("builtin", 32, builtin_a=6, builtin_b=7, builtin_eval=5)
"""
PHASES = {
    "drawing faces": (
        "patch('ganlib.data.domains.draw_faces', here): load_domains('builtin', 32, builtin_a=6, "
        "builtin_b=7, builtin_eval=5)"
    ),
    "drawing the true counterparts": (
        "patch('ganlib.data.domains.draw_counterparts', here): domains.load_truth(drawn)"
    ),
    "looking at the images": (
        "patch('ganlib.doctor.looks.measure_looks', here): examine.examine(drawn)"
    ),
    "timing a training step": (
        "patch('ganlib.doctor.examine.train_step', here): examine.measure_cost(drawn, ngf=2, ndf=2)"
    ),
    "training the probe, once for this data set": (
        "patch('ganlib.evaluate.probe.CACHE', Path(kept_in)), "
        "patch('ganlib.evaluate.probe.attribute_loss', here): probe.find_probe(drawn)"
    ),
    "translating": (
        "patch.object(torch.Tensor, 'float', here): translate.generate(torch.nn.Conv2d(3, 3, 1), "
        "torch.zeros(4, 3, 8, 8))"
    ),
    "scoring the test images": (
        "patch('ganlib.runs.finished.Judge', "
        "**{'return_value.protocols.return_value': {'kid': 1}}), "
        "patch('ganlib.runs.finished.read_json', "
        "return_value={'data_fingerprint': drawn.fingerprint}): "
        "finished.score_run(Some(here), drawn)"
    ),
    "training the runs of the grid": (
        "patch('ganlib.parallel.many_runs.can_be_read_again', return_value=False), "
        "patch('ganlib.parallel.many_runs.train_one', here): many_runs.train_grid([TrainConfig(), "
        "TrainConfig(seed=1)], drawn, kept_in)"
    ),
    "timing": "patch('ganlib.bench.timing.wait_for'): timing.take_turns({'call': here}, None, 2)",
}


def test_stop_in_any_phase_is_one_line_that_names_it_and_leaves_nothing_half_done(kernel, tmp_path):
    """Without `begin`: in a notebook of one's own too. Scripts see the KeyboardInterrupt that it
    is."""
    ready = (
        f"{FACES}import torch\n"
        "from ganlib.bench import timing\n"
        "from ganlib.data import domains\n"
        "from ganlib.doctor import examine\n"
        "from ganlib.evaluate import probe, translate\n"
        "from ganlib.parallel import many_runs\n"
        "from ganlib.runs import finished\n"
        f"kept_in = {str(tmp_path)!r}\n"
        + """
class Some:
    def __init__(self, translate):
        self.translate, self.folder, self.metrics = translate, Path("x"), {}
        self.nets = type("Nets", (), {"g_ab": torch.nn.Conv2d(3, 3, 1)})
"""
    )
    assert kernel.run(ready)[0] is None
    for label, code in PHASES.items():
        error, shown, said = kernel.run(f"with {code}", stop_at="here")
        assert len(error or []) == 1, (label, error, said)
        (line,) = error
        assert (
            line.startswith(f"KeyboardInterrupt: stopped while {label} (0 of ") and "\n" not in line
        ), label
        assert not shown or shown[-1][1] == {}, label
    assert not list(tmp_path.iterdir())
    error, _, said = kernel.run(
        "try:\n    with Progress('x', 1): here()\nexcept KeyboardInterrupt as stop: "
        "print(type(stop) is KeyboardInterrupt)",
        stop_at="here",
    )
    assert error is None and said == "here\nTrue\n"


def cells(name, **values):
    """The code cells of a notebook, with other values of some parameters."""
    code = [
        cell.source
        for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells
        if cell.cell_type == "code"
    ]
    return [code[0] + "".join(f"\n{key} = {value!r}" for key, value in values.items()), *code[1:]]


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_begins_by_minding_what_failed_cells_leave(name):
    assert cells(name)[1].startswith("from ganlib.lab.cells import begin\n\nbegin() ")


def test_typo_in_data_in_a_used_kernel_leaves_nothing_to_go_on_with(kernel, tmp_path):
    """All cells of 02 one after the other: well; with a folder that is not there; with a text
    that is not closed; and mended, which loads the run."""
    small = dict(
        image_size=32,
        builtin_a=6,
        builtin_b=7,
        builtin_eval=5,
        ngf=2,
        ndf=2,
        batch_size=2,
        steps=2,
        epoch_steps=1,
        precision="float32",
        runs=str(tmp_path / "runs"),
    )
    good = cells("02_cyclegan", **small)
    assert kernel.run("from ganlib.evaluate import probe\nprobe.LEAST_STEPS = 2")[0] is None
    for code in good:
        error, _, said = kernel.run(code)
        assert error is None, (code, error)
    made = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(made) == 1

    loads = next(i for i, code in enumerate(good) if "images = load_domains(" in code)
    for first, kind in (
        (cells("02_cyclegan", **small, data=str(tmp_path / "nowhere"))[0], "InputError"),
        (good[0] + "\ndata = 'nowhere", "NameError"),
    ):
        errors = [kernel.run(code)[0] for code in (first, *good[1:])]
        assert (errors[0] is None) == (kind == "InputError")
        assert errors[1:loads] == [None] * (loads - 1), "what needs no images"
        below = errors[loads:]
        assert all(lines and len(lines) == 1 and "\n" not in lines[0] for lines in below), errors
        assert below[0][0].startswith(kind)
        assert all(lines[0].startswith("NameError: ") for lines in below[1:])
        assert errors[-1] == [
            "NameError: run is not there: the cell that makes it has failed or was stopped, or one "
            "above it; run that one first"
        ]
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == made

    trained = next(i for i, code in enumerate(good) if "run = fit(" in code)
    for code in good[: trained + 1]:
        error, _, said = kernel.run(code)
        assert error is None, (code, error)
    assert f"run {made[0]}: finished on " in said and said.endswith(f"\nrun {made[0]}\n")
    rules = get_sanitize_patterns((NOTEBOOKS.parent / "tests/nbval.cfg").read_text())
    assert sanitized(said, rules) == sanitized(f"run {made[0]}\n", rules), (
        "nbval would tell a run that is loaded from one that is trained"
    )


def sanitized(text, rules):
    for pattern, instead in rules:
        text = re.sub(pattern, instead, text)
    return text


def test_cell_that_failed_or_was_stopped_leaves_nothing_of_before_and_what_is_above_it_stays(
    kernel,
):
    for code in (
        "from ganlib.lab.cells import begin\nbegin()\nabove = 1",
        "thing = 2\nother = 3",
        "below = thing + 1",
        "own = 5",
    ):
        assert kernel.run(code)[0] is None
    assert kernel.run("thing = 6\nhere()", stop_at="here")[0] == ["KeyboardInterrupt: stopped"]
    gone = (
        "NameError: {} is not there: the cell that makes it has failed or was stopped, or one "
        "above it; run that one first"
    )
    assert [kernel.run(f"print({name})")[0] for name in ("thing", "other", "below")] == [
        [gone.format(name)] for name in ("thing", "other", "below")
    ]
    assert kernel.run("print(above)")[2] == "1\n"
    assert (
        kernel.run("thing = 7\nother = 8")[0] is None
        and kernel.run("below = thing + 1\nprint(below)")[2] == "8\n"
    )
    error = kernel.run("def inner():\n    return missing\nscratch = inner()")[0]
    assert len("\n".join(error).splitlines()) > 3, "an error of one's own is shown as ever"
    assert kernel.run("print(above, thing, below)")[2] == "1 7 8\n"


def test_cell_of_ones_own_that_fails_takes_nothing_else_along(monkeypatch):
    """As JupyterLab sends them, with the number of the cell: a new one that fails, and one that
    had made the name before."""
    made, told = dict.fromkeys(["images", "run", "mine"]), {"images", "run", "mine"}
    shell = SimpleNamespace(user_ns=dict.fromkeys(told, 1), transform_cell=str)
    for name, value in (("MADE", made), ("GONE", set()), ("CELLS", {"setup"})):
        monkeypatch.setattr(lab_cells, name, value)
    failed = {"success": False}
    lab_cells.keep_or_forget(
        shell,
        SimpleNamespace(info=SimpleNamespace(cell_id="new", raw_cell="run = 1 / 0"), **failed),
    )
    assert set(shell.user_ns) == {"images", "mine"} and lab_cells.GONE == {"run"}
    lab_cells.keep_or_forget(
        shell,
        SimpleNamespace(info=SimpleNamespace(cell_id="setup", raw_cell="images = x"), **failed),
    )
    assert not shell.user_ns and lab_cells.GONE == told


def test_failed_cell_that_imports_again_takes_only_what_it_makes(monkeypatch):
    made = dict.fromkeys(["Path", "images", "run", "shown"])
    shell = SimpleNamespace(user_ns=dict.fromkeys(made, 1), transform_cell=str)
    for name, value in (("MADE", made), ("GONE", set()), ("CELLS", {"train"})):
        monkeypatch.setattr(lab_cells, name, value)
    code = "from pathlib import Path\nrun = 1 / 0"
    info = SimpleNamespace(cell_id="train", raw_cell=code)
    lab_cells.keep_or_forget(shell, SimpleNamespace(info=info, success=False))
    assert set(shell.user_ns) == {"Path", "images"} and lab_cells.GONE == {"run", "shown"}
