"""What the environment names does no harm: backends, styles, kernels of another Python, folders
that cannot be written."""

import base64
import io
import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
import yaml
from jupyter_client.kernelspec import KernelSpecManager
from PIL import Image
from test_report import started_on_bench

from ganlib import ROOT
from ganlib.system import surroundings as system_surroundings
from ganlib.system.files import NOTEBOOKS

DRAW = """import os
os.environ["MPLBACKEND"] = "TkAgg"    # as kernels have it that a report does not start
from ganlib.show.plots import show_inline
import matplotlib.pyplot as plt
import sys
show_inline(quality=70)
print(sys.executable)
# --
plt.plot([1, 2])
None"""
NOWHERE = "/dev/null/home"  # it cannot be made, not even by root
FOREIGN = {"argv": ["/bin/false"], "display_name": "another Python", "language": "python"}


@pytest.mark.slow
def test_report_is_the_same_in_a_hostile_environment(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# A page"),
        nbformat.v4.new_code_cell("value = 1", metadata={"tags": ["parameters"]}),
        *map(nbformat.v4.new_code_cell, DRAW.split("\n# --\n")),
    ]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=spec), tmp_path / "01_drawn.ipynb"
    )
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"notebooks": ["01_drawn"]}), encoding="utf-8"
    )
    (tmp_path / "matplotlibrc").write_text(
        "backend: Agg\nfont.size: 30\nfigure.facecolor: black\nfigure.dpi: 20", encoding="utf-8"
    )
    (tmp_path / "kernels/python3").mkdir(parents=True)
    (tmp_path / "kernels/python3/kernel.json").write_text(json.dumps(FOREIGN), encoding="utf-8")
    odd = {
        "HOME": NOWHERE,
        "TMPDIR": "/no/such/folder",
        "MPLBACKEND": "TkAgg",
        "JUPYTER_PATH": str(tmp_path),
        "XDG_CACHE_HOME": NOWHERE,
        "JUPYTER_RUNTIME_DIR": NOWHERE,
        "IPYTHONDIR": NOWHERE,
        "MPLCONFIGDIR": NOWHERE,
        "GANLIB_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        started_on_bench(tmp_path, [str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]),
        cwd=tmp_path,
        env=os.environ | odd,
        capture_output=True,
        encoding="utf-8",
    )
    # A busy one, as it is ended
    told = [
        line
        for line in done.stderr.splitlines()
        if "KeyboardInterrupt caught in kernel" not in line
    ]
    assert (done.returncode, told) == (0, [])
    outputs = [
        out
        for cell in nbformat.read(tmp_path / "out/01_drawn.ipynb", 4).cells[2:]
        for out in cell.outputs
    ]
    assert [out.output_type for out in outputs] == ["stream", "display_data"]
    assert outputs[0].name == "stdout" and outputs[0].text == f"{sys.executable}\n"
    picture = Image.open(io.BytesIO(base64.b64decode(outputs[1].data["image/jpeg"])))
    # white, 6.4 inches at the 200 dpi of a report, cut to what is drawn
    assert min(picture.getpixel((2, 2))) > 250 and 1000 < picture.width < 1300
    assert picture.info["dpi"] == (200, 200)  # by which the page shows it at half of that


def test_own_kernel_is_before_all_others(tmp_path, monkeypatch):
    (tmp_path / "kernels/python3").mkdir(parents=True)
    (tmp_path / "kernels/python3/kernel.json").write_text(json.dumps(FOREIGN), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert KernelSpecManager().get_kernel_spec("python3").argv == ["/bin/false"]
    for _ in range(2):
        system_surroundings.prefer_own_kernel()
        assert KernelSpecManager().get_kernel_spec("python3").argv[:3] == [
            "python",
            "-m",
            "ipykernel_launcher",
        ]
        assert os.environ["JUPYTER_PATH"].split(os.pathsep) == [
            str(system_surroundings.JUPYTER),
            str(tmp_path),
        ]


@pytest.mark.parametrize("target", ["lab", "notebooks", "test"])
def test_make_starts_the_own_kernel_too(target, tmp_path):
    (tmp_path / "see.mk").write_text(
        f"include Makefile\nsee-{target}: ; @echo $$JUPYTER_PATH\n", encoding="utf-8"
    )
    said = subprocess.run(
        ["make", "-s", "-f", tmp_path / "see.mk", f"see-{target}"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"JUPYTER_PATH": "/other"},
    ).stdout
    assert said.strip().split(os.pathsep) == [str(ROOT / "ganlib/lab"), "/other"]


def test_only_folders_that_cannot_be_written_are_replaced(tmp_path, monkeypatch):
    names = (
        "MPLCONFIGDIR",
        "IPYTHONDIR",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "TORCH_HOME",
        "HF_HOME",
        "XDG_CACHE_HOME",
    )
    for name in (*names, "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ganlib.system.surroundings.spare_folder", lambda: "/spare")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "mine"))
    system_surroundings.replace_unwritable()
    assert [os.environ.get(name) for name in names] == [
        str(tmp_path / "mine"),
        *[None] * 7,
    ] and not list(tmp_path.iterdir())
    monkeypatch.setenv("TORCH_HOME", NOWHERE)
    system_surroundings.replace_unwritable()
    assert [os.environ.get(name) for name in names] == [
        str(tmp_path / "mine"),
        *[None] * 4,
        "/spare/torch_home",
        None,
        None,
    ]
    monkeypatch.setenv("HOME", NOWHERE)
    system_surroundings.replace_unwritable()
    assert [os.environ[name] for name in names] == [
        str(tmp_path / "mine"),
        *(f"/spare/{name.lower()}" for name in names[1:]),
    ]


def test_spare_folder_is_one_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("ganlib.system.surroundings.CACHE", tmp_path / "cache")
    assert system_surroundings.spare_folder.__wrapped__() == tmp_path / "cache"
    monkeypatch.setattr("ganlib.system.surroundings.CACHE", system_surroundings.Path(NOWHERE))
    assert os.access(system_surroundings.spare_folder.__wrapped__(), os.W_OK)
    # A home that nobody knows
    assert not system_surroundings.is_writable("~") and not system_surroundings.is_writable("")


SPIN = (
    "import os, ganlib; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_waiting_threads_sleep_soon_unless_the_user_has_said_otherwise(given, expected):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    env = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", SPIN]
    done = subprocess.run(command, env=env | given, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr


def test_torch_is_told_how_to_wait_before_it_is_loaded():
    """libgomp reads its settings once, as it is loaded, and shows them if it is asked to."""
    modules = "import sys, ganlib; assert 'torch' not in sys.modules; import torch"
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    env |= {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run([sys.executable, "-c", modules], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    assert set(said) == {"1000"} or sys.platform != "linux", done.stderr


def test_kernels_and_workers_wait_as_this_process_does():
    """What is started from here has it from the environment; a kernel also where nothing of
    ganlib started it, since the notebooks import ganlib first."""
    assert os.environ["GOMP_SPINCOUNT"]
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        first = next(cell.source for cell in cells if "import" in cell.source)
        assert first.startswith("from ganlib"), path.name
