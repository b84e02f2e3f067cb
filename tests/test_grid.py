"""Many runs through Dask: the same runs as one after another, with a worker that dies and a run
that fails."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

from ganlib.errors import InputError
from ganlib.parallel import child as parallel_child
from ganlib.parallel import many_runs as parallel_many_runs
from ganlib.runs.folder import find_checkpoints
from ganlib.show.progress import FEED

pytestmark = pytest.mark.slow  # all of them train, or start a kernel or workers

distributed = pytest.importorskip(
    "distributed", reason="Dask is an optional extra: pip install -e '.[dask]'"
)


@pytest.fixture
def two_workers():
    """The address of a local cluster with two workers, processes of one thread each."""
    # Dask leaves one thread for MKL there, for every kernel of later tests
    before = dict(os.environ)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster
    os.environ.clear()
    os.environ.update(before)


def test_grid_gives_the_same_runs_with_a_worker_killed_and_a_run_that_fails(
    faces, tiny, tmp_path, two_workers
):
    cfgs = [tiny(steps=40, epoch_steps=10, seed=seed) for seed in (0, 1)] + [
        tiny(batch_size=3, ngf=4, steps=4),
        tiny(image_size=64, steps=2),
    ]
    killed, over = [], threading.Event()

    def kill():
        """The worker that trains seed 0, as soon as that run has a checkpoint."""
        folder = tmp_path / "many" / cfgs[0].name(faces.fingerprint)
        while not over.wait(0.05):  # a worker that finds no probe in the cache trains one first
            if find_checkpoints(folder):
                key = next(
                    k
                    for k, v in sorted(
                        two_workers.scheduler.tasks.items(), key=lambda item: item[1].priority or ()
                    )
                    if v.processing_on
                )
                killed.append(
                    two_workers.workers[two_workers.scheduler.tasks[key].processing_on.name].pid
                )
                os.kill(killed[0], signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    (tmp_path / "many").mkdir()
    killer.start()
    outcomes = parallel_many_runs.train_grid(
        cfgs, faces, tmp_path / "many", scheduler=two_workers.scheduler_address
    )
    over.set()
    killer.join()
    assert killed, "no worker was killed, so nothing was tried"
    assert [bool(o.folder) for o in outcomes] == [True, True, True, False]
    assert "image_size (64, 64): the data was loaded at (32, 32)" in outcomes[3].error
    assert parallel_many_runs.finished(outcomes)[0].metrics["resumed_at"], (
        "the run whose worker died began anew"
    )
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))  # as in each of two workers
    (tmp_path / "one").mkdir()
    one = [
        parallel_many_runs.train_side_by_side([cfg], faces, tmp_path / "one", "")[0] for cfg in cfgs
    ]
    assert [o.error for o in one] == [o.error for o in outcomes]
    for a, b in zip(parallel_many_runs.finished(one), parallel_many_runs.finished(outcomes)):
        assert (
            a.folder.name == b.folder.name
            and a.history.equals(b.history)
            and a.metrics["scores"] == b.metrics["scores"]
        )


def test_runs_that_failed_are_told_and_the_rest_is_kept(faces, tiny, tmp_path, capsys):
    outcomes = parallel_many_runs.train_grid([tiny(steps=2), tiny(image_size=64)], faces, tmp_path)
    assert len(parallel_many_runs.finished(outcomes)) == 1
    assert (
        "failed: cyclegan, recipe cyclegan, seed 0: InputError: image_size (64, 64)"
        in capsys.readouterr().out
    )
    with pytest.raises(
        InputError, match="all runs of the grid failed; the first: InputError: image_size"
    ):
        parallel_many_runs.finished(outcomes[1:])


def test_local_cluster_trains_and_leaves_the_environment_as_it_was(faces, tiny, tmp_path):
    before = dict(os.environ)
    (done,) = parallel_many_runs.train_grid([tiny(steps=2)], faces, tmp_path, scheduler="local")
    assert done.folder and dict(os.environ) == before


def test_local_workers_show_no_progress_among_the_outputs_of_a_notebook():
    with parallel_many_runs.connect("local") as client:
        assert list(client.run(os.getenv, FEED).values()) == [os.devnull]


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:1"])
def test_scheduler_that_is_not_there_is_named(address, monkeypatch):
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: client(address, timeout=1))
    with pytest.raises(InputError, match=f"scheduler '{address}': no answer .*expected"):
        parallel_many_runs.connect(address)


def test_worker_that_does_not_see_the_folder_says_so(faces, tiny, tmp_path):
    with pytest.raises(
        InputError, match="this worker does not see it; expected a folder that all workers share"
    ):
        parallel_many_runs.train_on_worker(
            tiny(), faces.loaded, faces.fingerprint, str(tmp_path / "none"), ""
        )
    with pytest.raises(InputError, match="this worker finds other images there"):
        parallel_many_runs.train_on_worker(tiny(), faces.loaded, "other", str(tmp_path), "")


SIDE_BY_SIDE = """
import sys
from ganlib.config import TrainConfig
from ganlib.data.domains import load_domains
from ganlib.parallel.many_runs import train_grid
faces = load_domains("builtin", 32, builtin_a=12, builtin_b=14, builtin_eval=5)
steps = int(sys.argv[2])
common = dict(image_size=32, ngf=4, ndf=4, batch_size=2, steps=steps, precision="float32")
cfgs = [TrainConfig.from_recipe("cyclegan", seed=seed, **common) for seed in (0, 1)]
train_grid(cfgs, faces, sys.argv[1])
"""


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="one core: runs are trained one after another"
)
def test_runs_side_by_side_end_with_a_checkpoint_each_when_they_are_interrupted(
    faces, tiny, tmp_path
):
    grid = subprocess.Popen(
        [sys.executable, "-c", SIDE_BY_SIDE, tmp_path, "5000"], stderr=subprocess.PIPE, text=True
    )
    folders = [tmp_path / tiny(steps=5000, seed=seed).name(faces.fingerprint) for seed in (0, 1)]
    latest = time.monotonic() + 300
    while not all(find_checkpoints(folder) for folder in folders):
        assert grid.poll() is None, grid.stderr.read()
        assert time.monotonic() < latest, [path.name for path in tmp_path.iterdir()]
        time.sleep(0.1)
    children = psutil.Process(grid.pid).children(recursive=True)
    assert len([child for child in children if "ganlib.train" in child.cmdline()]) == 2
    grid.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in grid.communicate(timeout=120)[1]
    assert not any(child.is_running() for child in children)
    for folder in folders:
        assert int(find_checkpoints(folder)[0].stem.rpartition("-")[2]) > 1, (
            "one of the step that it was stopped in"
        )
        assert not (folder / ".lock").exists()
        assert parallel_many_runs.find_threads(folder) == max(1, len(os.sched_getaffinity(0)) // 2)


def test_run_whose_process_was_killed_is_told_and_the_other_is_kept(
    faces, tiny, tmp_path, monkeypatch
):
    started = parallel_child.Child.__enter__

    def killed(child):
        started(child)
        if child.job["train"]["seed"] == 1:
            child.process.kill()
        return child

    monkeypatch.setattr(parallel_child.Child, "__enter__", killed)
    outcomes = parallel_many_runs.train_side_by_side([tiny(seed=1), tiny()], faces, tmp_path, "")
    assert outcomes[0].error.startswith(
        "InputError: the process that trained it was lost (it said nothing); it had no checkpoint"
    )
    assert outcomes[1].folder.name == tiny().name(faces.fingerprint)


def test_number_of_runs_side_by_side_is_that_of_cores_runs_and_memory(faces, monkeypatch):
    cores = len(os.sched_getaffinity(0))
    assert parallel_many_runs.how_many(99, faces) <= cores
    assert parallel_many_runs.how_many(1, faces) == 1
    assert not parallel_many_runs.can_be_read_again(faces._replace(loaded=None))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**30))
    assert parallel_many_runs.how_many(99, faces) == 1


def test_runs_share_a_gpu_only_where_mps_runs(faces, monkeypatch, tmp_path):
    assert parallel_many_runs.is_shared()  # the cores of a CPU
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (80 * 2**30, 80 * 2**30))
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not parallel_many_runs.is_shared()
    (tmp_path / "control").touch()
    assert parallel_many_runs.is_shared()
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(64))
    assert parallel_many_runs.how_many(99, faces) == parallel_many_runs.ON_GPU
    assert parallel_many_runs.how_many(3, faces) == 3
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (9 * 2**30, 10 * 2**30))
    assert parallel_many_runs.how_many(99, faces) == 2
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert not parallel_many_runs.is_shared()
