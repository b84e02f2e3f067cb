"""Many runs through Dask: the same runs as one after another, with a worker that dies and a run that fails."""

import os
import signal
import threading

import pytest
import torch

from ganlib.errors import InputError
from ganlib.parallel import many_runs as parallel_many_runs
from ganlib.runs.folder import find_checkpoints
from ganlib.show.progress import FEED

distributed = pytest.importorskip("distributed", reason="Dask is an optional extra: pip install -e '.[dask]'")


@pytest.fixture
def two_workers():
    """The address of a local cluster with two workers, processes of one thread each."""
    before = dict(os.environ)       # Dask leaves one thread for MKL there, for every kernel of later tests
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster
    os.environ.clear()
    os.environ.update(before)


def test_grid_gives_the_same_runs_with_a_worker_killed_and_a_run_that_fails(faces, tiny, tmp_path, two_workers):
    cfgs = [tiny(steps=40, epoch_steps=10, seed=seed) for seed in (0, 1)] + [tiny(batch_size=3, ngf=4, steps=4), tiny(image_size=64, steps=2)]
    killed, over = [], threading.Event()

    def kill():
        """The worker that trains seed 0, as soon as that run has a checkpoint."""
        folder = tmp_path / "many" / cfgs[0].name(faces.fingerprint)
        while not over.wait(0.05):      # a worker that finds no probe in the cache trains one first
            if find_checkpoints(folder):
                key = next(k for k, v in sorted(two_workers.scheduler.tasks.items(), key=lambda item: item[1].priority or ()) if v.processing_on)
                killed.append(two_workers.workers[two_workers.scheduler.tasks[key].processing_on.name].pid)
                os.kill(killed[0], signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    (tmp_path / "many").mkdir()
    killer.start()
    outcomes = parallel_many_runs.train_grid(cfgs, faces, tmp_path / "many", scheduler=two_workers.scheduler_address)
    over.set()
    killer.join()
    assert killed, "no worker was killed, so nothing was tried"
    assert [bool(o.folder) for o in outcomes] == [True, True, True, False]
    assert "image_size (64, 64): the data was loaded at (32, 32)" in outcomes[3].error
    assert parallel_many_runs.finished(outcomes)[0].metrics["resumed_at"], "the run whose worker died began anew"
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))  # as in each of two workers
    one = parallel_many_runs.train_grid(cfgs, faces, tmp_path / "one")
    assert [o.error for o in one] == [o.error for o in outcomes]
    for a, b in zip(parallel_many_runs.finished(one), parallel_many_runs.finished(outcomes)):
        assert a.folder.name == b.folder.name and a.history.equals(b.history) and a.metrics["scores"] == b.metrics["scores"]


def test_runs_that_failed_are_told_and_the_rest_is_kept(faces, tiny, tmp_path, capsys):
    outcomes = parallel_many_runs.train_grid([tiny(steps=2), tiny(image_size=64)], faces, tmp_path)
    assert len(parallel_many_runs.finished(outcomes)) == 1
    assert "failed: cyclegan, recipe default, seed 0: InputError: image_size (64, 64)" in capsys.readouterr().out
    with pytest.raises(InputError, match="all runs of the grid failed; the first: InputError: image_size"):
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
    with pytest.raises(InputError, match="this worker does not see it; expected a folder that all workers share"):
        parallel_many_runs.train_on_worker(tiny(), faces.loaded, faces.fingerprint, str(tmp_path / "none"), "")
    with pytest.raises(InputError, match="this worker finds other images there"):
        parallel_many_runs.train_on_worker(tiny(), faces.loaded, "other", str(tmp_path), "")
