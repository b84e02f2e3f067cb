"""`ganlib runs`: which runs there are, in which state, and what is left over of others."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from ganlib import loop
from ganlib.config import plain_config
from ganlib.runs import kept, listing
from ganlib.runs.__main__ import main
from ganlib.runs.checkpoint import write_state
from ganlib.runs.folder import FILES, claim_run_folder
from ganlib.system.command import call
from ganlib.system.files import locked

GONE = 2**22 + 1  # a process of this number there cannot be


def begin(folder, tiny, **fields):
    """A run that has written its config."""
    cfg = tiny(**fields)
    claim_run_folder(folder, cfg, "f1ng3rpr1nt")
    return cfg


def finish(folder, tiny, kid=0.5, **fields):
    """A run with all files of one that is finished, small."""
    cfg = begin(folder, tiny, **fields)
    (folder / "metrics.jsonl").write_text("")
    for name in FILES:
        save_file({"g_ab.x": np.zeros(50, np.float32)}, folder / name)
    scores = {name: {"value": kid, "low": 0.0, "high": 1.0} for name in ("kid_probe_a", "other")}
    scores["kid_probe_b"] = scores["kid_probe_a"] | {"value": 2 * kid}
    metrics = {"data": {"name": "faces"}, "scores": {"ema": scores}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return cfg


def write_checkpoint(folder, step):
    """A checkpoint, and a log, of nothing."""
    (folder / "metrics.jsonl.part").write_text("")
    write_state(folder / f"checkpoint-{step:09}.pt", {"step": step})


def age(folder, seconds):
    """Make all files of a folder so much older."""
    for path in folder.iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


@pytest.fixture
def runs(tiny, tmp_path, monkeypatch):
    """A folder with a run in each state, "old" the finished one."""
    folder = tmp_path / "runs"
    finish(folder / "old", tiny)
    write_checkpoint(folder / "old", 4)
    age(folder / "old", 86_400)
    os.utime(folder / "old" / "weights.safetensors")
    failed = folder / "old" / "failed-step-000000002.pt"  # of a training anew, to be looked at
    failed.write_text("")
    os.utime(failed, (failed.stat().st_mtime + 1000,) * 2)
    begin(folder / "half", tiny, batch_size=3)
    write_checkpoint(folder / "half", 2)
    write_checkpoint(folder / "half", 4)
    begin(folder / "begun", tiny)
    (folder / "begun" / "strip.png.part").write_text("faces")
    begin(folder / "failed", tiny)
    (folder / "failed" / "mine.txt").write_text("my notes")
    (folder / "empty").mkdir()
    finish(folder / "again", tiny)
    age(folder / "again", 86_400)
    write_checkpoint(folder / "again", 1)
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(listing, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(listing, "RUNS", folder)
    monkeypatch.setattr(listing, "HOME", tmp_path)
    return folder


def states(folder):
    return {row["name"]: row["state"] for row in listing.list_runs([folder])}


def test_every_state_is_told(runs, capsys):
    assert main([str(runs)]) == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines()[2:]}
    assert set(lines) == {"old", "half", "begun", "failed", "again"}
    assert lines["old"].split()[1:4] == ["cyclegan", "cyclegan", "faces"]
    assert "12 of 12 " in lines["old"] and " 0.500 " in lines["old"] and " 1.000 " in lines["old"]
    assert "finished on 20" in lines["old"]
    assert "12 of 18 " in lines["half"] and "can go on at step 4 of 6" in lines["half"]
    assert "0 of 12 " in lines["begun"] and "stopped before its first" in lines["begun"]
    assert "can go on at step 1 of 6" in lines["again"] and "0.500" not in lines["again"]


def test_newest_comes_first_and_a_run_may_be_named_itself(runs):
    for i, name in enumerate(("half", "begun", "old")):
        age(runs / name, -1000 * (i + 1))
    assert [row["name"] for row in listing.list_runs([runs])][:2] == ["old", "half"]
    assert [row["name"] for row in listing.list_runs([runs / "old"])] == ["old"]


def test_kept_runs_are_told_and_left_alone(runs, tiny, tmp_path, capsys):
    finish(tmp_path / "kept" / "small", tiny)
    for name in FILES:
        (tmp_path / "kept" / "small" / name).unlink()
    metrics = json.loads((tmp_path / "kept/small/metrics.json").read_text())
    (tmp_path / "kept/small/metrics.json").write_text(json.dumps(metrics | {"kept": True}))
    write_checkpoint(tmp_path / "kept" / "small", 3)
    begin(tmp_path / "kept" / "begun", tiny)
    assert states(tmp_path / "kept") == {"small": "kept", "begun": "begun"}
    before = sorted(tmp_path.glob("kept/*/*"))
    assert main([str(tmp_path / "kept"), "--clean", "--yes"]) == 0
    assert "nothing is left over" in capsys.readouterr().out
    assert sorted(tmp_path.glob("kept/*/*")) == before


@pytest.mark.parametrize(
    "name, content, why",
    [
        ("config.json", b"{", "config.json: not a JSON file of ganlib"),
        ("config.json", b"{}", "config.json: not that of a run"),
        ("config.json", b'{"setps": 3}', "setps: no such field of TrainConfig"),
        ("metrics.json", b"[", "metrics.json: not a JSON file of ganlib"),
        ("metrics.json", b"{}", "metrics.json: not the figures of a run"),
        ("metrics.jsonl", None, "no metrics.jsonl in it"),
        ("best.safetensors", b"cut", "best.safetensors: "),
        ("config.json", None, "no config.json in it"),
    ],
)
def test_damage_is_told_with_why(tiny, tmp_path, name, content, why):
    finish(tmp_path / "run", tiny)
    (tmp_path / "run" / name).unlink()
    if content is not None:
        (tmp_path / "run" / name).write_bytes(content)
    row = listing.look_at(tmp_path / "run")
    assert row["state"] == "damaged" and row["why"].startswith(why)
    assert "\n" not in listing.to_table([row]).splitlines()[2]


def test_checkpoint_that_is_cut_off_is_passed_over_and_named_where_none_is_whole(tiny, tmp_path):
    begin(tmp_path, tiny)
    write_checkpoint(tmp_path, 2)
    write_checkpoint(tmp_path, 4)
    newest = tmp_path / "checkpoint-000000004.pt"
    newest.write_bytes(newest.read_bytes()[:-5])
    assert listing.look_at(tmp_path)["step"] == 2
    (tmp_path / "checkpoint-000000002.pt").write_text("no checkpoint")
    row = listing.look_at(tmp_path)
    assert row["state"] == "damaged" and row["why"].startswith("checkpoint-000000004.pt: cut off: ")
    newest.unlink()
    assert listing.look_at(tmp_path)["why"] == (
        "checkpoint-000000002.pt: not a checkpoint of ganlib"
    )
    (tmp_path / "weights.safetensors").write_text("")
    (tmp_path / "checkpoint-000000002.pt").unlink()
    assert listing.look_at(tmp_path)["why"] == "no metrics.json and no best.safetensors in it"


def test_json_is_for_scripts(runs, capsys):
    assert main([str(runs), "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["half"] == {
        "name": "half",
        "folder": str(runs / "half"),
        "arch": "cyclegan",
        "recipe": "cyclegan",
        "data": "f1ng3rpr",
        "pairs": 18,
        "pairs_done": 12,
        "step": 4,
        "steps": 6,
        "kid_probe_a": None,
        "kid_probe_b": None,
        "state": "unfinished",
        "why": None,
        "changed": found["half"]["changed"],
    }
    assert found["old"]["kid_probe_b"] == 1.0 and found["old"]["state"] == "finished"


def test_folder_without_runs_and_one_that_is_not_there(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"
    assert main([str(tmp_path), "--json"]) == 0 and capsys.readouterr().out == "[]\n"
    for more in ([], ["--clean", "--yes"]):
        assert call(lambda more=more: main([str(tmp_path / "none"), *more])) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"error: {tmp_path}/none: no such folder") and told.count("\n") == 1


def leave_parts(runs):
    """What processes that were killed have left, and what others are writing."""
    (runs / "half" / f".config.json.{GONE}.part").write_text("x" * 1000)
    (runs / f".faces.{GONE}.part").mkdir()
    (runs / f".faces.{GONE}.part" / "0.png").write_text("x" * 2000)
    (runs.parent / "cache").mkdir()
    (runs.parent / "cache" / f".set.7.{GONE}.part").mkdir()
    (runs.parent / "quick").mkdir()
    (runs.parent / "quick" / "steps.json").write_text("{}")
    (runs.parent / "quick" / ".running-x1").mkdir()
    (runs / "half" / f".strip.png.{os.getpid()}.part").write_text("by a living one")
    (runs / ".mine.part").write_text("of no process")
    (runs / ".running-mine").mkdir()
    (runs / f".new.{GONE}.part").write_text("of another machine, perhaps")
    for old in (runs / f".faces.{GONE}.part", runs.parent / "cache" / f".set.7.{GONE}.part"):
        os.utime(old, (time.time() - 2 * listing.DAY,) * 2)


LEFT_OVER = [
    "cache/.set.7.PID.part",
    "quick/.running-x1",
    "runs/.faces.PID.part",
    "runs/begun",
    "runs/half/.config.json.PID.part",
    "runs/old/checkpoint-000000004.pt",
    "runs/old/metrics.jsonl.part",
]


def test_clean_says_what_it_would_remove_and_removes_it_with_yes(runs, capsys):
    leave_parts(runs)
    expected = [str(runs.parent / name.replace("PID", str(GONE))) for name in LEFT_OVER]
    before = sorted(runs.parent.rglob("*"))
    assert main(["--clean"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[2].rstrip(":") for line in lines[:-1]) == expected
    assert "to remove it add --yes" in lines[-1]
    assert sorted(runs.parent.rglob("*")) == before
    assert main(["--clean", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == lines[:-1]
    gone = [path for path in before if not os.path.lexists(path)]
    roots = [str(path) for path in gone if path.parent not in gone]
    assert roots == expected and (runs / "old" / "failed-step-000000002.pt").exists()
    assert states(runs) == {
        "old": "finished",
        "half": "unfinished",
        "failed": "begun",  # holds a file that is not ganlib's
        "again": "unfinished",
    }
    assert main(["--clean"]) == 0 and "nothing is left over" in capsys.readouterr().out


def test_sizes_are_those_of_the_files(runs):
    leave_parts(runs)
    sizes = {path.name: size for path, size, _ in listing.clean([runs], remove=False)}
    assert sizes[f".config.json.{GONE}.part"] == 1000
    # Of a folder that was named only what lies in its runs, and nothing behind a link
    assert not {".running-x1", f".faces.{GONE}.part"} & set(sizes)
    sizes = {path.name: size for path, size, _ in listing.clean([], remove=False)}
    assert sizes[f".faces.{GONE}.part"] == 2000
    (runs / "link").symlink_to(runs / "begun")
    assert "link" not in {path.name for path, *_ in listing.clean([runs], remove=True)}
    assert (runs / "link").is_symlink() and not (runs / "begun").exists()


def test_run_that_another_process_holds_is_named_and_left_alone(runs):
    script = (
        "import sys; from ganlib.system.files import locked\n"
        "with locked(sys.argv[1], 'it'): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(runs / "begun" / ".lock")]
    (runs / "begun" / f".config.json.{GONE}.part").write_text("")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        row = listing.look_at(runs / "begun")
        assert row["state"] == "in use" and row["why"].startswith(f"process {holder.pid} on ")
        assert "begun" not in {path.name for path, *_ in listing.clean([runs], remove=True)}
        holder.stdin.close()
    assert (runs / "begun" / f".config.json.{GONE}.part").exists()
    assert states(runs)["begun"] == "begun"
    assert [path.name for path, *_ in listing.clean([runs], remove=True)] == ["begun"]


def test_run_that_is_held_since_it_was_looked_at_is_not_removed(runs, monkeypatch):
    monkeypatch.setattr(listing, "find_holder", lambda path: None)
    with locked(runs / "begun" / ".lock", "begun"):
        status = call(lambda: main([str(runs), "--clean", "--yes"]))
    assert status == 2 and (runs / "begun" / "config.json").exists()


@pytest.mark.slow
def test_runs_that_were_trained_are_listed_so(faces, tiny, tmp_path, monkeypatch):
    """Whole, and kept small; and without torch."""
    run = loop.fit(tiny(steps=2), faces, tmp_path / "runs" / "whole")
    small = kept.keep(run.folder, tmp_path / "runs")
    script = (
        "import sys; from ganlib.runs.__main__ import main; main([*sys.argv[1:], '--json']); "
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert {name: row["state"] for name, row in found.items()} == {
        "whole": "finished",
        small.name: "kept",
    }
    for row in found.values():
        scores = run.metrics["scores"]["ema"]
        assert row["kid_probe_a"] == scores["kid_probe_a"]["value"]
        assert row["data"] == "builtin" and row["pairs_done"] == row["pairs"] == 4
    assert list(listing.clean([tmp_path / "runs"], remove=True)) == []
    assert plain_config(run.cfg)["steps"] == found["whole"]["steps"]
