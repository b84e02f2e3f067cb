"""TensorBoard: an event file that says what metrics.jsonl says."""

import json
import signal
import sys

import numpy as np
import pytest

from ganlib import fast_step, loop
from ganlib.config import Execution
from ganlib.errors import InputError
from ganlib.parallel.child import write_job
from ganlib.runs.job import read_job
from ganlib.runs.listing import find_leftovers, find_runs

pytest.importorskip("tensorboard", reason="an optional extra: '.[tensorboard]'")

BOARD = Execution(tensorboard=True, checkpoint_seconds=0)


def read_events(folder):
    """({(name, step): [values]}, steps of the faces) of all event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "images": 0})
    events.Reload()
    found = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            found.setdefault((name, event.step), []).append(event.value)
    pictures = events.Tags()["images"]
    return found, [event.step for event in events.Images("faces")] if pictures else []


def read_log(path):
    """The same of a log."""
    found = {}
    for line in map(json.loads, path.read_text().splitlines()):
        for name in line.keys() - {"split", "epoch", "step"}:
            found[f"{line['split']}/{name}", line["step"]] = [float(np.float32(line[name]))]
    return found


@pytest.mark.slow
def test_events_of_a_stopped_run_say_what_its_log_says(faces, tiny, tmp_path, monkeypatch):
    """Killed after a step that no checkpoint has, and gone on with: each step once. Trained anew
    without it, they are gone."""
    cfg = tiny(steps=5, epoch_steps=2)
    step_on, save = fast_step.train_step, loop.Keeper.save_if_due
    taken = []

    def broken(*args, **kwargs):
        taken.append(len(taken) + 1)
        if len(taken) == 5:
            raise RuntimeError("killed")
        return step_on(*args, **kwargs)

    monkeypatch.setattr("ganlib.loop.train_step", broken)
    monkeypatch.setattr(loop.Keeper, "save_if_due", lambda self, n: n <= 2 and save(self, n))
    with pytest.raises(RuntimeError, match="killed"):
        loop.fit(cfg, faces, tmp_path / "run", BOARD)
    events, shown = read_events(tmp_path / "run")
    assert events == read_log(tmp_path / "run/metrics.jsonl.part")
    assert max(step for _, step in events) == 4 and shown == [2, 4]
    monkeypatch.undo()
    run = loop.fit(cfg, faces, tmp_path / "run", BOARD)
    assert run.metrics["resumed_at"] == [2]
    events, shown = read_events(run.folder)
    expected = read_log(run.folder / "metrics.jsonl")
    assert events == expected and shown == [2, 4, 5]
    assert len({step for name, step in events if name == "train/g"}) == 5
    assert ("val/kid_a", 5) in events
    assert find_runs(run.folder) == [run.folder]
    run = loop.fit(cfg, faces, run.folder, Execution(resume=False))
    assert not list(run.folder.glob("tensorboard/*"))


@pytest.mark.slow
def test_run_that_is_asked_to_stop_has_all_its_steps(faces, tiny, tmp_path, monkeypatch):
    step_on = fast_step.train_step

    def stopped(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        return step_on(*args, **kwargs)

    monkeypatch.setattr("ganlib.loop.train_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(tiny(steps=3), faces, tmp_path / "run", BOARD)
    events, _ = read_events(tmp_path / "run")
    assert ("train/g", 1) in events and events == read_log(tmp_path / "run/metrics.jsonl.part")
    # Stopped before its first checkpoint, it would be cleaned up with its events
    next((tmp_path / "run").glob("checkpoint-*.pt")).unlink()
    assert [path for path, _ in find_leftovers(tmp_path / "run")] == [tmp_path / "run"]


def test_missing_extra_is_told_before_anything_is_trained(faces, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"tensorboard: .*pip install 'ganlib\[tensorboard\]'"):
        loop.fit(tiny(), faces, tmp_path / "run", BOARD)
    assert not (tmp_path / "run").exists()


def test_file_of_a_run_asks_for_it(faces, tiny, tmp_path):
    path = tmp_path / "job.yaml"
    for text, expected in (("{}", False), ("tensorboard: yes", True)):
        path.write_text(text)
        assert read_job(path)["tensorboard"] is expected
    path.write_text("tensorboard: 5")
    with pytest.raises(InputError, match="tensorboard 5: expected True or False"):
        read_job(path)
    assert write_job(tiny(), faces, tmp_path, Execution(tensorboard=True))["tensorboard"] is True
