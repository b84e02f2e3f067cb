"""~ in every path that a user gives: the home folder, and one line where there is none."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from torchvision.io import write_png

from ganlib import InputError, loop, train
from ganlib.bench import __main__ as bench_command
from ganlib.compare import __main__ as compare_command
from ganlib.compare import tables as compare_tables
from ganlib.data.domains import load_domains
from ganlib.doctor import __main__ as doctor_command
from ganlib.evaluate.inception import find_inception
from ganlib.faces.__main__ import main as write_faces
from ganlib.lab.parameters import check_parameters
from ganlib.report import __main__ as report_command
from ganlib.report import settings as report_settings
from ganlib.runs.finished import load_run
from ganlib.system.files import expand

NOBODY = "~nobody_of_this_name/x"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, with a working folder beside it in which no folder named ~ may be left."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "home"
    assert not list((tmp_path / "work").iterdir())


def save(images, folder):
    for split in ("train", "val", "test"):
        for domain, side in zip("AB", getattr(images, split)):
            (folder / split / domain).mkdir(parents=True)
            for i, image in enumerate(side):
                write_png(image, str(folder / split / domain / f"{i}.png"))


def test_one_place_knows_of_it(home):
    assert (
        expand("~") == home
        and expand("~/a b/c") == home / "a b/c"
        and expand("a/~/b") == Path("a/~/b")
        and expand("$HOME/x") == Path("$HOME/x")
    )
    for path in (NOBODY, "~no\0body", "~\ud800/x"):
        with pytest.raises(
            InputError,
            match="^folder ~.*: no home folder is known for its ~; write the whole path$",
        ) as told:
            expand(path, "folder")
        assert str(told.value).isprintable()


@pytest.mark.slow
def test_training_from_a_file_to_its_scores(home, faces, monkeypatch):
    """It went to the end in a folder named ~, and then could not be read."""
    save(faces, home / "set")
    monkeypatch.setattr("ganlib.loop.score_run", lambda run, data, inception: run)
    monkeypatch.setattr("ganlib.evaluate.probe.LEAST_STEPS", 1)
    monkeypatch.setattr("ganlib.evaluate.probe.MOST_STEPS", 1)
    (home / "job.yaml").write_text(
        yaml.safe_dump(
            {
                "train": {
                    "image_size": 32,
                    "ngf": 2,
                    "ndf": 2,
                    "steps": 1,
                    "batch_size": 2,
                    "precision": "float32",
                },
                "data": {"data": "~/set"},
                "folder": "~/runs/mine",
            }
        )
    )
    assert train.main(["~/job.yaml"]) == 0
    run = load_run("~/runs/mine", "cpu")
    assert (
        run.folder == home / "runs/mine"
        and run.metrics["data"]["counts"] == faces.counts().values.tolist()
    )
    monkeypatch.setattr("ganlib.loop.fit", lambda cfg, data, folder, *rest: folder)
    assert loop.fit_or_load(run.cfg, faces, "~/runs").parent == home / "runs"
    with pytest.raises(InputError, match=f"^run folder {home}/runs/mine: no scores"):
        compare_tables.gather(["~/runs/mine"])


def test_parameters_of_notebooks_and_settings_of_a_report(home):
    given = {"data": "~/set", "inception": "~/weights.pth", "runs": "~/runs", "speed": "~"}
    assert check_parameters(given) == {
        "data": f"{home}/set",
        "inception": f"{home}/weights.pth",
        "runs": f"{home}/runs",
        "speed": str(home),
    }
    assert check_parameters({"data": "hf:~/set", "inception": "", "runs": "a/~"}) == {
        "data": "hf:~/set",
        "inception": "",
        "runs": "a/~",
    }
    (home / "mine.yaml").write_text("notebooks: [02_cyclegan]\ncommon: {runs: ~/runs}")
    assert report_settings.plan(report_settings.find_settings("~/mine.yaml"), {"data": "~/set"})[0][
        "parameters"
    ] == {"runs": f"{home}/runs", "data": f"{home}/set"}


def test_command_lines_write_there(home, faces, monkeypatch):
    save(faces, home / "set")
    (home / "mine.yaml").write_text("notebooks: [01_data_analysis]")
    written = []
    monkeypatch.setattr("ganlib.report.runner.run", lambda entries, out, *rest: written.append(out))
    monkeypatch.setattr("ganlib.bench.timing.measure_step", lambda *given: {"seconds": 1})
    monkeypatch.setattr("ganlib.bench.__main__.in_words", str)
    with contextlib.redirect_stdout(io.StringIO()):
        assert report_command.main(["~/mine.yaml", "--out=~/page"]) == 0
        assert doctor_command.main(
            ["~/set", "--no-cost", "--image-size", "32", "--out=~/looks"]
        ) in (0, 1)
        assert (
            write_faces(
                ["~/drawn", "--train-a", "1", "--train-b", "1", "--eval", "1", "--size", "16"]
            )
            == 0
        )
        assert bench_command.main(["--json=~/speed/cpu.json"]) == 0
    assert (
        written == [home / "page"]
        and json.loads((home / "looks/doctor.json").read_text())["data"] == "set"
    )
    assert (home / "drawn/attributes.csv").exists() and json.loads(
        (home / "speed/cpu.json").read_text()
    ) == {"seconds": 1}


@pytest.mark.parametrize(
    "call",
    [
        lambda: load_domains(NOBODY),
        lambda: find_inception(NOBODY),
        lambda: load_run(NOBODY),
        lambda: compare_tables.gather([NOBODY]),
        lambda: check_parameters({"runs": NOBODY}),
        lambda: check_parameters({"data": NOBODY}),
        lambda: report_settings.find_settings(f"{NOBODY}.yaml"),
    ],
)
def test_home_of_nobody_is_told_in_one_line(home, call):
    with pytest.raises(
        InputError, match="~nobody_of_this_name/x.*: no home folder is known for its ~"
    ):
        call()


def test_home_of_nobody_is_told_by_every_command_before_it_does_anything(home, capsys):
    (home / "job.yaml").write_text(f"folder: {NOBODY}\ndata: {{data: nowhere}}")
    for main, arguments in (
        (train.main, ["~/job.yaml"]),
        (report_command.main, ["quick", "--out", NOBODY]),
        (doctor_command.main, ["nowhere", "--out", NOBODY]),
        (write_faces, [NOBODY]),
        (bench_command.main, ["--json", NOBODY]),
        (compare_command.main, [NOBODY]),
    ):
        assert main(arguments) == 2
        told = capsys.readouterr()
        assert (
            told.err.count("\n") == 1
            and f"{NOBODY}: no home folder is known" in told.err
            and not told.out
        )


def test_GANLIB_HOME(home):
    show = [sys.executable, "-c", "from ganlib.system.files import CACHE, RUNS; print(RUNS, CACHE)"]
    done = subprocess.run(
        show, env=os.environ | {"GANLIB_HOME": "~/lab"}, capture_output=True, text=True
    )
    assert done.stdout == f"{home}/lab/runs {home}/lab/cache\n"
    done = subprocess.run(
        [sys.executable, "-m", "ganlib.faces", "--help"],
        env=os.environ | {"GANLIB_HOME": NOBODY},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"error: GANLIB_HOME {NOBODY}: no home folder is known for its ~; write the whole path\n",
    )
