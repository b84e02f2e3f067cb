"""Runs that are kept in the repository: what is left of them, and how they are taken."""

import json

import pytest
import torch
import yaml

from ganlib import loop
from ganlib.compare.tables import gather
from ganlib.data.domains import load_domains
from ganlib.errors import InputError
from ganlib.evaluate import probe
from ganlib.evaluate.translate import to_bytes
from ganlib.parallel import many_runs
from ganlib.runs import kept
from ganlib.runs.finished import load_run, score_run
from ganlib.runs.folder import is_finished
from ganlib.runs.log import Log
from ganlib.show.progress import FEED
from ganlib.system.files import SETTINGS


@pytest.fixture(scope="module")
def trained(faces, tiny, tmp_path_factory):
    """A finished run whose identity loss is in every fourth step."""
    cfg = tiny(steps=9, epoch_steps=3, idt_every=4)
    return loop.fit_or_load(cfg, faces, tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
def test_kept_run_translates_and_compares_as_the_whole_one(trained, faces, tmp_path):
    folder = kept.keep(trained.folder, tmp_path)
    assert folder.name == trained.folder.name and kept.is_kept(folder)
    assert not is_finished(folder) and not kept.is_kept(trained.folder)
    run = load_run(folder, "cpu")
    assert run.metrics == trained.metrics | {"kept": True}
    whole, small = [to_bytes(x.translate(faces.test)["fake_b"]).int() for x in (trained, run)]
    assert (whole - small).abs().max() <= 2  # half precision
    columns = ["kid_probe_a", "content_ab", "parameters"]
    ours, theirs = [gather([x.folder])[columns] for x in (run, trained)]
    assert ours.equals(theirs)
    with pytest.raises(InputError, match="its raw weights were not kept"):
        run.translate(faces.test, "raw")
    with pytest.raises(InputError, match="kept without all of its weights"):
        score_run(run, faces)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < (trained.folder / "weights.safetensors").stat().st_size


@pytest.mark.slow
def test_only_seed_0_is_kept_with_weights(faces, tiny, tmp_path):
    run = loop.fit(tiny(seed=3, steps=2), faces, tmp_path / "run")
    folder = kept.keep(run.folder, tmp_path / "kept")
    assert not (folder / kept.MEANS).exists()
    with pytest.raises(InputError, match="its ema weights were not kept"):
        load_run(folder, "cpu").translate(faces.test)


@pytest.mark.slow
def test_grid_takes_what_is_kept_and_trains_the_rest(
    trained, faces, tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
    folder = kept.keep(trained.folder, tmp_path / "kept")
    other = tiny(steps=1)
    monkeypatch.setenv(FEED, str(tmp_path / "feed"))
    found = many_runs.train_grid([other, trained.cfg], faces, tmp_path / "runs")
    # The report that asked for them hears of the one that was taken as of the one that was trained
    heard = [json.loads(line) for line in (tmp_path / "feed").read_text().splitlines()]
    assert {str(each.folder) for each in found} <= {line["folder"] for line in heard}
    assert [each.cfg for each in found] == [other, trained.cfg]
    assert found[1].folder == folder and found[0].folder.parent == tmp_path / "runs"
    said = capsys.readouterr().out
    assert "1 of 2 runs are taken from reports/study/runs\n" in said
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [found[0].folder.name]
    monkeypatch.setattr("ganlib.evaluate.scores.PROTOCOL_VERSION", 99)
    assert kept.find_kept(trained.cfg, faces.fingerprint) is None
    assert "scored by another version" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(kept, "KEPT", tmp_path / "kept")
    # Without its scores, which come last, it is not kept
    (folder / "metrics.json").unlink()
    assert kept.find_kept(trained.cfg, faces.fingerprint) is None


@pytest.mark.parametrize("steps, every", [(20_000, 4), (80_000, 4), (80_000, 3), (400, 4)])
def test_thinned_log_has_every_validation_and_each_loss(tmp_path, steps, every):
    """As a long run writes it: of 80,000 steps not each has a line, and yet as many of these have
    an identity loss as of all."""
    with Log(tmp_path, steps, idt_every=every) as log:
        for step in range(1, steps + 1):
            losses = {"g": 1.0} | ({"idt": 0.5} if step % every == 0 else {})
            log.write("train", 1, step, losses)
            if step % (steps // 20) == 0:
                log.write("val", 1, step, {"g": 1.0})
    written = [json.loads(line) for line in log.path.read_text().splitlines()]
    written = [line for line in written if line["split"] == "train"]
    assert len(written) == pytest.approx(min(20_000, steps), rel=0.25)
    assert sum("idt" in line for line in written) == pytest.approx(len(written) / every, abs=1)
    lines = [json.loads(line) for line in kept.thin(log.path, every).splitlines()]
    kept_steps = [line for line in lines if line["split"] == "train"]
    assert len(kept_steps) == pytest.approx(400, rel=0.25)
    assert sum("idt" in line for line in kept_steps) == pytest.approx(
        len(kept_steps) / every, abs=1
    )
    assert [line["step"] for line in lines if line["split"] == "val"] == list(
        range(steps // 20, steps + 1, steps // 20)
    )


@pytest.mark.slow
def test_what_cannot_be_kept_is_named(trained, faces, tiny, tmp_path, capsys):
    assert kept.main([str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    folder = kept.keep(trained.folder, tmp_path)
    assert kept.main([str(folder), "--into", str(tmp_path / "again")]) == 2
    assert "no weights.safetensors" in capsys.readouterr().err
    assert kept.main([str(trained.folder), "--into", str(trained.folder.parent)]) == 2
    assert "the run itself lies there" in capsys.readouterr().err
    assert is_finished(trained.folder)
    (folder / kept.MEANS).write_bytes(b"no weights")
    with pytest.raises(InputError, match="not the weights of this run"):
        load_run(folder, torch.device("cpu"))


@pytest.mark.slow
def test_probe_of_the_quick_report_comes_with_ganlib_and_is_of_its_faces(monkeypatch):
    """Faces that are drawn otherwise, or probes of another version, need new ones."""
    common = yaml.safe_load((SETTINGS / "quick.yaml").read_text())["common"]
    names = ("data", "image_size", "builtin_a", "builtin_b", "builtin_eval")
    images = load_domains(**{name: common[name] for name in names})
    monkeypatch.setattr(probe, "train_probe", None)  # none is trained
    assert len(probe.find_probe(images).readable) >= 10
    known = {path.name.rsplit("-", 1)[0] for path in (SETTINGS / "probes").iterdir()}
    assert known == {f"probe-{probe.PROBE_VERSION}-attributes"}
