"""A run that is watched from its folder, whoever trains it."""

import json
import os
import signal
import threading

import faults
import pytest
import torch
from test_runs_listing import begin, finish, write_checkpoint

from ganlib.errors import InputError
from ganlib.runs import watch as runs_watch
from ganlib.runs.folder import LOG
from ganlib.runs.watch import read_part, watch
from ganlib.show.strip import PART, Strip
from ganlib.system.files import locked


@pytest.fixture
def drawn(monkeypatch):
    """The pictures that are shown, each as what is written beside its rows of faces."""
    pictures = []

    def keep(figure):
        texts = figure.subfigs[1].texts if figure.subfigs else []
        pictures.append([text.get_text() for text in texts])

    monkeypatch.setattr(runs_watch, "show_in_place", keep)
    return pictures


def write_part(folder, steps=(0, 2)):
    """Faces and log of a training under way, whose last line is half-written."""
    lines = [json.dumps({"split": "train", "step": i, "cycle": 1.5}) for i in (1, 2)]
    (folder / LOG).write_text("\n".join([*lines, lines[0][:20]]))
    grey = torch.zeros(6, 3, 16, 16).byte()
    Strip(grey, 3, steps, [grey for _ in steps]).save(folder / PART)


@pytest.mark.slow
def test_training_of_another_process_is_drawn_until_it_is_finished(faces, tmp_path, drawn, capfd):
    folder = tmp_path / "run"
    pid = faults.start(faults.small(steps=42), faces, folder)
    watch(folder, seconds=0.4)
    assert faults.wait(pid) == 0
    said = capfd.readouterr().out.splitlines()
    assert said[0].startswith("run run is not there yet: waiting up to 30 s")
    assert said[1].startswith("run run: finished on ") and len(said) == 2
    assert len(drawn) > 3 and drawn[0][:2] == ["real", "step 0"]
    assert drawn[-1][-1] == "step 42" and drawn[-2] != drawn[0]
    watch(folder)
    assert len(capfd.readouterr().out.splitlines()) == 1 and drawn[-1] == drawn[-2]


@pytest.mark.slow
def test_training_that_is_killed_ends_the_watch(faces, tmp_path, drawn, capfd):
    folder = tmp_path / "run"
    pid = faults.start(faults.small(steps=500), faces, folder)

    def kill():
        faults.until(lambda: list(folder.glob("checkpoint-*")) and len(drawn) > 1, pid)
        os.kill(pid, signal.SIGKILL)
        faults.wait(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    watch(folder, seconds=0.05)
    killer.join()
    assert " can go on at step " in capfd.readouterr().out.splitlines()[-1]


def test_interrupted_run_is_drawn_once(tiny, tmp_path, drawn, capsys):
    begin(tmp_path, tiny)
    write_checkpoint(tmp_path, 2)
    write_part(tmp_path)
    watch(tmp_path, seconds=0.1, patience=0.5)
    assert capsys.readouterr().out.splitlines() == [
        f"nobody trains {tmp_path.name} now: waiting up to 0.5 s for it",
        f"run {tmp_path.name}: can go on at step 2 of 6",
    ]
    assert drawn == [["real", "step 0", "step 2"]]


def test_half_written_line_is_left_out_and_no_log_is_an_empty_one(tmp_path):
    assert list(read_part(tmp_path / LOG)) == ["split", "step"]
    (tmp_path / LOG).write_text('{"split": "train", "st')
    assert len(read_part(tmp_path / LOG)) == 0
    write_part(tmp_path)
    assert read_part(tmp_path / LOG).step.tolist() == [1, 2]
    (tmp_path / LOG).write_text("no line of a log\n")
    assert len(read_part(tmp_path / LOG)) == 0


def test_run_that_has_no_faces_yet_is_not_drawn_and_a_finished_one_has_its_curves(
    tiny, tmp_path, drawn
):
    begin(tmp_path / "new", tiny)
    watch(tmp_path / "new", seconds=0.1, patience=0.2)
    assert drawn == []
    finish(tmp_path / "old", tiny)
    (tmp_path / "old/metrics.jsonl").write_text('{"split": "train", "step": 1, "cycle": 1.0}\n')
    watch(tmp_path / "old")
    assert drawn == [[]]


def test_stopped_watch_says_in_a_line_that_the_run_goes_on(tiny, tmp_path, drawn, monkeypatch):
    begin(tmp_path, tiny)
    write_part(tmp_path)

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs_watch.time, "sleep", stop)
    with locked(tmp_path / ".lock", "the test"), pytest.raises(KeyboardInterrupt) as stopped:
        watch(tmp_path)
    (line,) = stopped.value._render_traceback_()
    assert line.endswith("is not watched any more; who trains it goes on")
    assert drawn == [["real", "step 0", "step 2"]]


def test_folder_without_a_run_is_told_in_a_line(tmp_path, capsys):
    with pytest.raises(InputError, match="nothing: no run in it; expected the folder of one"):
        watch(tmp_path / "nothing", patience=0.1)
    assert capsys.readouterr().out == "run nothing is not there yet: waiting up to 0.1 s for it\n"
    (tmp_path / "notes.txt").write_text("no run")
    for folder in (tmp_path, tmp_path / "notes.txt"):  # told at once
        with pytest.raises(InputError, match="no run in it"):
            watch(folder)
    assert capsys.readouterr().out == ""
