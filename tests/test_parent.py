"""Runs that start from the weights of another one."""

import signal
from dataclasses import replace

import pytest
import torch
import yaml

from ganlib import fast_step, loop
from ganlib.config import ADDED, Execution, TrainConfig, plain_config
from ganlib.errors import InputError
from ganlib.loop import begin, fit
from ganlib.models.build import build_nets
from ganlib.runs.finished import load_run
from ganlib.runs.job import read_job
from ganlib.runs.kept import keep
from ganlib.runs.parent import child_config, read_parent
from ganlib.use.export import export
from ganlib.use.packed import pack

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def parent(faces, tmp_path_factory):
    """A finished run with spectral norm and second discriminators."""
    small = dict(image_size=32, ngf=4, ndf=4, batch_size=2, steps=4, precision="float32")
    cfg = TrainConfig.from_recipe("default", **small)
    return fit(cfg, faces, tmp_path_factory.mktemp("parent") / "run")


def weights_of(net):
    return torch.cat([value.flatten().float() for value in net.state_dict().values()])


def test_first_step_starts_from_all_weights_and_means_of_a_run(parent, tmp_path):
    cfg = child_config(parent.folder, steps=3, decay_from=0.0)
    assert cfg.parent.startswith("run@") and cfg.steps == 3 and cfg.ngf == 4
    state = begin(build_nets(cfg, CPU), cfg, tmp_path, Execution(init_from=str(parent.folder)))
    for mine, theirs in zip(state.nets, parent.nets):
        assert weights_of(mine).equal(weights_of(theirs))
    for mine, theirs in zip(state.emas, parent.ema):
        assert weights_of(mine.module).equal(weights_of(theirs)) and mine.n_averaged == 4


@pytest.mark.parametrize("how", ["kept", "file"])
def test_generators_alone_start_from_what_is_left_of_a_run(parent, tmp_path, how):
    if how == "kept":
        path = keep(parent.folder, tmp_path / "kept")
    else:
        path, _ = export(parent.folder, tmp_path / "model")
    cfg = child_config(path, steps=3, decay_from=0.0)
    torch.manual_seed(0)
    nets = build_nets(cfg, CPU)
    drawn = weights_of(nets.d_a).clone()
    state = begin(nets, cfg, tmp_path / "new", Execution(init_from=str(path)))
    known = weights_of(parent.ema.g_ab)
    assert torch.allclose(weights_of(state.nets.g_ab), known, atol=2e-3)  # half precision
    assert weights_of(state.emas[0].module).equal(weights_of(state.nets.g_ab))
    assert state.emas[0].n_averaged == 0
    assert weights_of(state.nets.d_a).equal(drawn)


@pytest.mark.slow
def test_run_of_its_own_that_leaves_its_parent_and_goes_on_without_it(parent, faces, tmp_path):
    before = {path.name: path.read_bytes() for path in parent.folder.iterdir()}
    cfg = child_config(parent.folder, steps=3, decay_from=0.0)
    assert cfg.name("x") != replace(cfg, parent="").name("x")
    run = fit(cfg, faces, tmp_path / "longer", Execution(init_from=str(parent.folder)))
    assert before == {path.name: path.read_bytes() for path in parent.folder.iterdir()}
    assert run.metrics["parent"] == cfg.parent == load_run(run.folder).cfg.parent
    assert not weights_of(run.nets.g_ab).equal(weights_of(parent.nets.g_ab))
    again = fit(cfg, faces, tmp_path / "longer")  # is loaded, and needs no parent any more
    assert again.metrics == run.metrics
    with pytest.raises(InputError, match="^init_from: missing, and the config starts from run@"):
        fit(cfg, faces, tmp_path / "other")


def test_schedule_is_asked_for(parent):
    with pytest.raises(InputError, match="^decay_from: missing, and init_from needs it"):
        child_config(parent.folder, steps=3)
    with pytest.raises(InputError, match="^steps: missing, and init_from needs it"):
        child_config(parent.folder, decay_from=0.0)
    with pytest.raises(InputError, match="^recipe 'seed': a run with init_from has the recipe"):
        child_config(parent.folder, steps=3, decay_from=0.0, recipe="seed")


def test_what_cannot_be_started_from_is_told_in_one_line(parent, faces, tmp_path):
    good = child_config(parent.folder, steps=3, decay_from=0.0)
    how = Execution(init_from=str(parent.folder))
    for change, told in (
        ({"ngf": 8, "ndf": 8}, "another kind .ngf 4 there, 8 now; ndf 4 there, 8 now"),
        ({"d_coarse": 0.0}, "other layers; set d_coarse, coarse_until"),
        ({"parent": "run@000000000000"}, "and the config names run@000000000000"),
        ({"parent": ""}, "and the config names no parent"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            fit(replace(good, **change), faces, tmp_path / "run", how)
        assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="nowhere: not there; expected the folder of a finished"):
        read_parent(tmp_path / "nowhere")
    with pytest.raises(InputError, match="to train a finished run on, name it as init_from"):
        fit(replace(parent.cfg, steps=9), faces, parent.folder)


def test_job_takes_what_it_does_not_name_from_the_parent(parent, faces, tmp_path):
    job = tmp_path / "job.yaml"
    told = {"init_from": str(parent.folder), "train": {"steps": 3, "decay_from": 0.0}}
    job.write_text(yaml.safe_dump(told | {"data": {"data": "builtin"}}))
    read = read_job(job)
    assert read["train"] == child_config(parent.folder, steps=3, decay_from=0.0)
    assert list(read["data"]["image_size"]) == [32, 32]


@pytest.mark.slow
def test_several_processes_start_from_it_too(parent, faces, tmp_path):
    cfg = child_config(parent.folder, steps=2, decay_from=0.0, lr_g=0.0, lr_d=0.0)
    run = fit(cfg, faces, tmp_path / "two", Execution(init_from=str(parent.folder), processes=2))
    for name in ("weight", "bias"):
        mine = [v for k, v in run.nets.g_ab.state_dict().items() if k.endswith(name)]
        theirs = [v for k, v in parent.nets.g_ab.state_dict().items() if k.endswith(name)]
        assert all(one.equal(other) for one, other in zip(mine, theirs))


@pytest.mark.slow
def test_child_goes_on_without_its_parent_where_the_job_names_its_folder(
    parent, faces, tmp_path, monkeypatch
):
    (tmp_path / "parent").mkdir()
    for path in parent.folder.iterdir():
        (tmp_path / "parent" / path.name).write_bytes(path.read_bytes())
    told = {"init_from": str(tmp_path / "parent"), "folder": str(tmp_path / "child")}
    told |= {"train": {"steps": 3, "decay_from": 0.0}, "data": {"data": "builtin"}}
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(told))
    read = read_job(job)
    how = Execution(init_from=read["init_from"])
    monkeypatch.setattr(loop, "train_step", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(read["train"], faces, read["folder"], how)
    monkeypatch.undo()
    (tmp_path / "parent").rename(tmp_path / "moved")
    again = read_job(job)
    assert again["train"] == read["train"]
    run = fit(again["train"], faces, again["folder"], how)
    assert run.metrics["resumed_at"] == [1] and run.metrics["parent"] == read["train"].parent


def stop(*args, **kwargs):
    """A training step, and Ctrl-C."""
    signal.raise_signal(signal.SIGINT)
    return fast_step.train_step(*args, **kwargs)


def test_older_model_file_is_read_as_it_was_trained(tiny, tmp_path):
    """What its header does not know is as it was before there was a choice, and not the recipe's
    of today."""
    cfg = tiny("default", d_coarse=0.0, flip=False, d_norm="instance", idt_every=1)
    nets = build_nets(cfg, CPU)
    known = plain_config(cfg)
    for name in ADDED:
        del known[name]
    told = {"name": "old", "domains": ["a", "b"], "config": known}
    pack(tmp_path / "old.safetensors", nets.g_ab, nets.g_ba, cfg, told)
    assert read_parent(tmp_path / "old.safetensors").cfg == cfg


def test_parent_from_coarse_to_fine_asks_how_the_child_goes(tiny, tmp_path):
    cfg = tiny(d_coarse=0.5, coarse_until=0.5)
    nets = build_nets(cfg, CPU)
    path = tmp_path / "coarse.safetensors"
    pack(path, nets.g_ab, nets.g_ba, cfg, {"name": "coarse", "domains": ["a", "b"]})
    with pytest.raises(InputError, match="^coarse_until: missing, and init_from needs it"):
        child_config(path, steps=4, decay_from=0.0)
    assert child_config(path, steps=4, decay_from=0.0, coarse_until=0.25).coarse_steps() == 1
