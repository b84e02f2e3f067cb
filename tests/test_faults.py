"""Runs that are killed, stopped, starved and given damaged files: small pieces of the campaign
in faults.py, and what it does not have."""

import errno
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from queue import Empty

import faults
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from known import LOSSES

from ganlib import InputError, errors, fast_step, loop, losses
from ganlib.config import Execution
from ganlib.data.domains import pair_batches
from ganlib.models import ema as models_ema
from ganlib.runs import checkpoint as runs_checkpoint
from ganlib.runs import finished as runs_finished
from ganlib.runs import folder as runs_folder
from ganlib.runs.signals import Stop
from ganlib.system import files as system_files

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.slow,  # all of them have something trained before
]


@pytest.fixture(scope="session", autouse=True)
def warm(faces, tmp_path_factory):
    """The probe is trained and everything imported before processes are forked from this one."""
    loop.fit(faults.small(steps=1), faces, tmp_path_factory.mktemp("warm"))


@pytest.fixture
def work(tmp_path):
    """A folder with a name that a shell would trip over."""
    (tmp_path / "Läufe, – 走 'x'").mkdir()
    return tmp_path / "Läufe, – 走 'x'"


def test_killed_at_random_moments(faces, work):
    faults.killed(faces, work, 6, configs={"one": faults.small(steps=16)})


def test_sigterm_and_ctrl_c_end_after_the_step_with_a_checkpoint(faces, work):
    faults.interrupted(faces, work, 1, signal.SIGTERM, steps=30)
    faults.interrupted(faces, work, 1, signal.SIGINT, steps=30)


def test_full_disk_is_told_and_what_was_whole_stays(faces, work):
    assert (
        faults.full_disk(faces, work, faults.ROOM[:3], steps=16)[1]
        == "full while writing checkpoint, config.json, metrics.jsonl.part"
    )


def test_damaged_checkpoint_is_named_and_the_one_before_it_used(faces, work):
    faults.damaged(faces, work, 5, steps=16)


def test_second_process_in_a_run_folder_is_refused(faces, work):
    faults.two_in_one_folder(faces, work, 1, steps=40)


def test_two_processes_killed_and_ended_by_sigterm_go_on_to_the_same_run(faces, work):
    faults.two_processes(faces, work, 2)


def test_many_steps_leave_memory_and_handles_as_they_were(faces, work):
    faults.soak(faces, work, 300)


def test_no_whole_checkpoint_left_is_told(faces, tiny, tmp_path):
    (tmp_path / "checkpoint-000000004.pt").write_bytes(b"nothing")
    with pytest.raises(
        InputError,
        match=(
            r"of this run no checkpoint is left that is whole and has its log; .* delete "
            r".*checkpoint-\*.pt to train from the start"
        ),
    ):
        loop.fit(tiny(), faces, tmp_path, Execution(resume=True))
    assert loop.fit(tiny(), faces, tmp_path, Execution(resume=False)).metrics["resumed_at"] == []


def test_checkpoint_of_another_config_or_data_shows_the_difference(faces, tiny, tmp_path):
    stop_after(3, tiny(), faces, tmp_path / "one")
    (tmp_path / "other").mkdir()
    (found,) = [p for p in runs_folder.find_checkpoints(tmp_path / "one") if "3" in p.name]
    for path in (found, found.with_name(runs_folder.LOG)):
        (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        InputError,
        match=r"checkpoint-000000003.pt holds another config \(lr_g 0.0002 there, 0.001 now\)",
    ):
        loop.fit(tiny(lr_g=1e-3), faces, tmp_path / "other", Execution(resume=True))
    (tmp_path / "other/config.json").unlink()
    with pytest.raises(
        InputError,
        match="checkpoint-000000003.pt holds another config .other images .data_fingerprint",
    ):
        loop.fit(
            tiny(),
            faces._replace(
                stamp=faces.stamp._replace(fingerprint="0" * 64), attributes=None, drawn=None
            ),
            tmp_path / "other",
            Execution(resume=True),
        )


def stop_after(n, cfg, faces, folder, number=signal.SIGINT, **given):
    """Train in this process and press Ctrl-C during step n."""
    step_on, calls = fast_step.train_step, []

    def pressed(*args, **kwargs):
        calls.append(1)
        if len(calls) == n:
            signal.raise_signal(number)
        return step_on(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ganlib.loop.train_step", pressed)
        loop.fit(cfg, faces, folder, Execution(**given))


def test_stop_keeps_the_step_it_came_in_and_not_half_of_it(faces, tiny, tmp_path, capsys):
    cfg = tiny(steps=9, epoch_steps=4)
    whole = loop.fit(cfg, faces, tmp_path / "whole")
    stop_after(5, cfg, faces, tmp_path / "run", checkpoint_seconds=3600)
    assert (
        "stopped after step 5 of 9; started again, it goes on from its last checkpoint"
        in capsys.readouterr().out
    )
    stop_after(1, cfg, faces, tmp_path / "run", resume=True)
    assert len(runs_folder.find_checkpoints(tmp_path / "run")) == 2
    again = loop.fit(cfg, faces, tmp_path / "run", Execution(resume=True))
    assert again.metrics["resumed_at"] == [5, 6]
    faults.assert_same(tmp_path / "run", faults.content(whole.folder))


def test_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt):
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert stop.asked == signal.SIGINT
            signal.raise_signal(signal.SIGINT)
            time.sleep(10)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_stop_does_not_hide_an_error_and_leaves_other_threads_alone():
    with pytest.raises(ZeroDivisionError):
        with Stop():
            signal.raise_signal(signal.SIGINT)
            1 / 0
    heard = []
    thread = threading.Thread(target=lambda: heard.append(Stop().__enter__().before))
    thread.start(), thread.join()
    assert heard == [{}]


def test_jupyters_stop_button_leaves_a_notebook_that_goes_on(work):
    """In a real kernel: the cell that trains is interrupted, the next one goes on and finishes
    the run."""
    (work / "cell.py").write_text(f"""
from pathlib import Path
from ganlib.config import Execution
from ganlib.loop import fit
import faults
folder, cfg, faces = Path({str(work)!r}) / "run", faults.small(steps=150), faults.load_faces()
""")
    manager, client = start_new_kernel(
        extra_arguments=["--log-level=40"],
        env=os.environ | {"PYTHONPATH": os.path.dirname(__file__), "OMP_NUM_THREADS": "1"},
    )
    try:
        assert execute(client, (work / "cell.py").read_text())[0] == "ok"
        cell = client.execute("run = fit(cfg, faces, folder, Execution(checkpoint_seconds=3600))")
        faults.until(lambda: faults.steps_logged(work / "run") > 3)
        manager.interrupt_kernel()
        status, said = answer(client, cell)
        assert status == "error" and "KeyboardInterrupt" in said and "stopped after step" in said
        status, said = execute(
            client, "run = fit(cfg, faces, folder)\nprint(run.metrics['resumed_at'])"
        )
        assert status == "ok" and "going on from step" in said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert runs_finished.load_run(work / "run").metrics["resumed_at"]


def execute(client, code):
    """(status, what it printed or raised) of a cell."""
    return answer(client, client.execute(code))


def answer(client, cell):
    """See execute; of the cell with this number. What is of another one (questions of the client
    as it starts) is passed over."""
    said, state = "", ""
    while state != "idle":
        message = next_of(client.get_iopub_msg, cell, said)
        said += message["content"].get("text", "") + message["content"].get("ename", "")
        state = message["content"].get("execution_state")
    return next_of(client.get_shell_msg, cell, said)["content"]["status"], said


def next_of(get, cell, said):
    """The next message of a cell."""
    try:
        while (message := get(timeout=120))["parent_header"].get("msg_id") != cell:
            pass
        return message
    except Empty:
        raise AssertionError(f"no answer from the kernel; so far: {said}") from None


@pytest.mark.parametrize(
    "term, poison",
    [
        (
            "g inf, cycle inf, grad_g",
            lambda g: {"cycle": g["cycle"] * math.inf, "g": g["g"] * math.inf},
        ),
        ("g nan, grad_g nan", lambda g: {"g": g["g"] * math.nan}),
        # Its slope at 0 is infinite, its value not
        ("grad_g", lambda g: {"g": g["g"] + (g["g_adv"] - g["g_adv"].detach()).abs().sqrt()}),
    ],
)
def test_training_stops_at_the_step_that_is_not_finite_with_its_batch_and_state(
    faces, tiny, tmp_path, monkeypatch, term, poison
):
    cfg, calls, before = tiny(steps=20, epoch_steps=50), [], []

    def poisoned(nets, *args):
        calls.append(1)
        if len(calls) == 4:
            before.extend(p.detach().clone() for net in nets for p in net.parameters())
        g, fake_a, fake_b = losses.generator_losses(nets, *args)
        return (g | poison(g) if len(calls) == 4 else g), fake_a, fake_b

    monkeypatch.setattr("ganlib.loop.generator_losses", poisoned)
    with pytest.raises(
        errors.NotFinite,
        match=rf"step 4: not finite in train: {term}.*; likely causes: .*failed-step-000000004.pt",
    ) as caught:
        loop.fit(cfg, faces, tmp_path, Execution(checkpoint_seconds=0))
    assert "\n" not in str(caught.value) and "the state before that step" in str(caught.value)
    state = runs_checkpoint.read_state(tmp_path / "failed-step-000000004.pt")
    real_a, real_b = list(zip(range(4), pair_batches(faces.train, 2, 0, "cpu")))[3][1]
    assert torch.equal(state["real_a"], real_a) and torch.equal(state["real_b"], real_b)
    old, kept = iter(before), state["weights"]["g_ab"]
    assert all(torch.equal(value, next(old)) for value in kept.values()), (
        "the weights are those before the step"
    )
    assert [p.name for p in runs_folder.find_checkpoints(tmp_path)] == [
        "checkpoint-000000003.pt",
        "checkpoint-000000002.pt",
    ]
    monkeypatch.undo()
    run = loop.fit(cfg, faces, tmp_path, Execution(resume=True))
    assert run.metrics["resumed_at"] == [3] and not list(tmp_path.glob("failed-*"))


def test_weights_that_are_not_finite_are_no_checkpoint(faces, tiny, tmp_path, monkeypatch):
    def spoil(ema, net, decay, update=models_ema.update_ema):
        update(ema, net, decay)
        next(ema.parameters()).data.view(-1)[0] = math.inf

    monkeypatch.setattr("ganlib.loop.update_ema", spoil)
    with pytest.raises(FloatingPointError, match="step 1: a weight of ema_ab is not finite"):
        loop.fit(tiny(), faces, tmp_path)
    assert not runs_folder.find_checkpoints(tmp_path) and not (tmp_path / "metrics.json").exists()


def test_lock_holds_against_this_process_too_and_goes_with_its_block(tmp_path):
    with system_files.locked(tmp_path / ".lock", "run folder x"):
        with pytest.raises(
            InputError,
            match=(
                rf"run folder x: in use by process {os.getpid()} on .*, since .*; wait until that "
                r"has ended"
            ),
        ):
            with system_files.locked(tmp_path / ".lock", "run folder x"):
                pass
    assert not list(tmp_path.iterdir())
    (tmp_path / ".lock").write_text("process 1 on elsewhere")  # of one that was killed
    with system_files.locked(tmp_path / ".lock", "run folder x"):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


@pytest.mark.parametrize("broken", ["flock", "samestat"])
def test_file_system_without_locks_is_told_and_holds_nobody_up(
    tmp_path, monkeypatch, capsys, broken
):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(
        *(
            (system_files.fcntl, "flock", no_locks)
            if broken == "flock"
            else (system_files.os.path, "samestat", lambda *_: False)
        )
    )
    with system_files.locked(tmp_path / ".lock", "run folder x"):
        pass
    assert capsys.readouterr().out.startswith(f"warning: {tmp_path}/.lock: no lock is to be had")


def test_clock_that_is_set_back_changes_nothing(faces, tiny, tmp_path, monkeypatch):
    whole = loop.fit(tiny(), faces, tmp_path / "whole")
    backwards = iter(range(10**9, 0, -(10**5)))
    monkeypatch.setattr(time, "time", lambda: float(next(backwards)))
    monkeypatch.setattr(time, "time_ns", lambda: next(backwards) * 10**9)
    stop_after(3, tiny(), faces, tmp_path / "run", checkpoint_seconds=0)
    for i, path in enumerate(runs_folder.find_checkpoints(tmp_path / "run")):
        os.utime(path, (i, i))  # the newest has the oldest time
    run = loop.fit(tiny(), faces, tmp_path / "run", Execution(resume=True))
    assert run.metrics["resumed_at"] == [3] and run.metrics["train_seconds"] >= 0
    faults.assert_same(run.folder, faults.content(whole.folder))


def test_folder_that_cannot_be_written_is_named(faces, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError,
        match=(
            "file/run.*: cannot be written .Not a directory.; choose another folder .*, or set "
            "GANLIB_HOME"
        ),
    ):
        loop.fit(tiny(), faces, tmp_path / "file" / "run")


def test_read_only_source_tree_trains_where_ganlib_home_says(work):
    """In a mount of its own, where the tree cannot be written."""
    read_only = (
        f"mount --bind '{system_files.ROOT}' '{system_files.ROOT}' && mount -o remount,ro,bind "
        f"'{system_files.ROOT}' && "
    )
    if (
        not shutil.which("unshare")
        or subprocess.run(
            ["unshare", "-m", "sh", "-c", read_only + "true"], capture_output=True
        ).returncode
    ):
        pytest.skip(
            "mounts a folder read-only, for which one has to be root, outside of most containers"
        )
    (work / "run.yaml").write_text(
        "train: {image_size: 32, ngf: 2, ndf: 2, steps: 2, batch_size: 2}\ndata: {builtin_a: 12, "
        "builtin_b: 14, builtin_eval: 5}"
    )
    command, env = (
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            read_only + 'exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "ganlib.train",
            str(work / "run.yaml"),
        ],
        os.environ | {"GANLIB_HOME": ""},
    )
    refused = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (
        refused.returncode == 2
        and refused.stderr.count("\n") == 1
        and "cannot be written" in refused.stderr
    ), refused.stderr
    shutil.copytree(system_files.CACHE, work / "home/cache")  # with the probe of these faces
    done = subprocess.run(
        command, env=env | {"GANLIB_HOME": str(work / "home")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list((work / "home/runs").glob("*/metrics.json"))


def test_long_training_writes_no_more_than_so_many_lines(faces, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ganlib.runs.log.LINES", 4)
    run = loop.fit(tiny(steps=9), faces, tmp_path)
    assert list(run.history[run.history.split == "train"].step) == [3, 6, 9]


def test_step_whose_discriminators_fail_is_not_half_taken(faces, tiny, tmp_path, monkeypatch):
    cfg, calls, before = tiny(steps=20, epoch_steps=50), [], {}

    def poisoned(nets, *args):
        calls.append(1)
        d = losses.discriminator_losses(nets, *args)
        if len(calls) == 4:
            before.update(
                {
                    name: [p.detach().clone() for p in net.parameters()]
                    for name, net in nets._asdict().items()
                }
            )
            d = d | {"d_a": d["d_a"] * math.nan}
        return d

    monkeypatch.setattr("ganlib.loop.discriminator_losses", poisoned)
    with pytest.raises(errors.NotFinite, match="step 4: not finite in train: d_a nan, grad_d nan"):
        loop.fit(cfg, faces, tmp_path)
    weights = runs_checkpoint.read_state(tmp_path / "failed-step-000000004.pt")["weights"]
    for name, old in before.items():
        assert all(torch.equal(a, b) for a, b in zip(weights[name].values(), old, strict=True)), (
            f"{name} has taken the step"
        )


def test_validation_that_is_not_finite_keeps_its_own_batch_and_scores_that_are_not_are_left_out(
    faces, tiny, tmp_path, monkeypatch
):
    figures = dict.fromkeys(LOSSES, 0.5) | {"kid_a": math.nan, "kid_b": math.nan}
    monkeypatch.setattr("ganlib.loop.validate", lambda *args: (figures, None))
    run = loop.fit(tiny(epoch_steps=3), faces, tmp_path / "run")
    assert (
        run.metrics["best_step"] == 6
        and "kid_a" not in run.history
        and "NaN" not in (run.folder / "metrics.jsonl").read_text()
    )
    figures |= {"cycle": math.inf}
    with pytest.raises(
        errors.NotFinite,
        match="step 3: not finite in val: cycle inf.* the state after that step are in",
    ):
        loop.fit(tiny(epoch_steps=3), faces, tmp_path / "broken")
    state = runs_checkpoint.read_state(tmp_path / "broken/failed-step-000000003.pt")
    assert torch.equal(state["real_a"], faces.val.a.float() / 127.5 - 1)


def test_no_room_for_the_batch_hides_no_term(faces, tiny, tmp_path, monkeypatch):
    def poisoned(nets, *args):
        g, fake_a, fake_b = losses.generator_losses(nets, *args)
        return g | {"g": g["g"] * math.nan}, fake_a, fake_b

    monkeypatch.setattr("ganlib.loop.generator_losses", poisoned)
    monkeypatch.setattr(
        "ganlib.runs.checkpoint.write_atomic",
        lambda path, *content: system_files.raise_unwritable(OSError(errno.ENOSPC, "full"), path),
    )
    with pytest.raises(
        errors.NotFinite,
        match="step 1: not finite in train: g nan.*could not be kept .*no space left",
    ):
        loop.fit(tiny(), faces, tmp_path)


def test_stop_in_the_last_step_and_while_it_is_scored_loses_nothing(
    faces, tiny, tmp_path, monkeypatch, capsys
):
    cfg = tiny(steps=4)
    whole = loop.fit(cfg, faces, tmp_path / "whole")
    stop_after(4, cfg, faces, tmp_path / "run", checkpoint_seconds=3600)
    assert "stopped after step 4 of 4" in capsys.readouterr().out

    def pressed(*args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ganlib.loop.score_run", pressed)
        loop.fit(cfg, faces, tmp_path / "run", Execution(resume=True))
    assert "scores" not in (tmp_path / "run/metrics.json").read_text()
    assert (
        runs_checkpoint.describe_checkpoint(tmp_path / "run")
        == "it is trained to its end; started again, it is only scored"
    )
    (tmp_path / "run/checkpoint-000000001.pt").write_bytes(
        b"left by one that was killed as it finished"
    )
    os.utime(tmp_path / "run/checkpoint-000000001.pt", (1, 1))
    monkeypatch.setattr("ganlib.loop.train_step", None)  # not one step is taken again
    loop.fit(cfg, faces, tmp_path / "run", Execution(resume=True))
    faults.assert_same(tmp_path / "run", faults.content(whole.folder))


def test_signal_that_is_ignored_stays_so(faces, tiny, tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_stop_whose_handler_raises_nothing_is_no_finished_run(faces, tiny, tmp_path):
    old = loop.fit(tiny(steps=1), faces, tmp_path / "run")
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        stop_after(1, tiny(steps=1), faces, old.folder, resume=False)
    finally:
        signal.signal(signal.SIGINT, before)


def test_log_that_lost_its_end_costs_one_checkpoint(faces, tiny, tmp_path, capsys):
    cfg = tiny(steps=8)
    whole = loop.fit(cfg, faces, tmp_path / "whole")
    stop_after(5, cfg, faces, tmp_path / "run", checkpoint_seconds=0)
    log = tmp_path / "run" / runs_folder.LOG
    log.write_bytes(log.read_bytes()[:-3])
    (tmp_path / "run/config.json").write_text("")  # the checkpoints have it too
    loop.fit(cfg, faces, tmp_path / "run", Execution(resume=True))
    assert (
        "its log metrics.jsonl.part is shorter than it was, or another one; the one before it is "
        "tried\ngoing on from step 4 of 8" in capsys.readouterr().out
    )
    faults.assert_same(tmp_path / "run", faults.content(whole.folder))
