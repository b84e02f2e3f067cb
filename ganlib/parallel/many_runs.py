"""Many runs at once: seeds, architectures and recipes side by side on the cores of this machine, or
through Dask on as many devices and machines as there are."""

import os
import time
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import psutil
import torch

from ganlib.errors import InputError
from ganlib.evaluate.probe import find_probe
from ganlib.loop import fit_or_load
from ganlib.parallel.child import Child, write_job
from ganlib.runs.checkpoint import Damaged, read_state
from ganlib.runs.finished import load_run
from ganlib.runs.folder import claim_run_folder, find_checkpoints, is_finished
from ganlib.runs.kept import KEPT, find_kept
from ganlib.show.progress import FEED, Progress, note_run
from ganlib.system.files import RUNS, expand

PROCESS = 2 * 2**30  # bytes that a process of torch and a small training take, generously
ON_GPU = 8  # runs of ngf 16 that an H100 was seen to train at once (docs/gpus.md)
GPU_PROCESS = 4 * 2**30  # bytes of a GPU for a run, generously: ngf 64 in fours took 0.9 on an H100
INSTALL = "pip install -e '.[dask]'"

ALONE = Lock()  # torch's seed and number of threads belong to the process


class Outcome(NamedTuple):
    """What became of one config: the finished run's folder, or what went wrong, in one line."""

    cfg: object
    folder: Path | None
    error: str | None


def train_grid(cfgs, data, runs=RUNS, inception="", scheduler=""):
    """Train every config that has no finished run below the folder `runs`, nor one that is kept in
    the repository (runs.kept), many at once; returns an Outcome for each, in order.

    scheduler: "" on this machine, side by side (see how_many) where processes share the device, and
    else one after another; "local" a Dask cluster on this machine with a worker for each GPU (on a
    CPU one); else the address of a scheduler, whose workers see this folder and, at the same path,
    the data. inception: as find_inception takes it. A run whose worker died goes on from its last
    checkpoint on another one, up to three times (Dask's allowed-failures). One that fails is told
    in its Outcome and stops none of the others. Raises InputError where Dask or the scheduler
    cannot be had."""
    kept = {cfg: find_kept(cfg, data.fingerprint) for cfg in cfgs}
    missing = [cfg for cfg in cfgs if not kept[cfg]]
    if len(missing) < len(cfgs):
        # Not the whole path, which would stand in reports that people hand on
        where = "/".join(KEPT.parts[-3:])
        print(f"{len(cfgs) - len(missing)} of {len(cfgs)} runs are taken from {where}")
        for folder in filter(None, kept.values()):
            note_run(folder)
    trained = {}
    if missing:
        for found in train_missing(missing, data, runs, inception, scheduler):
            trained[found.cfg] = found
    return [trained.get(cfg, Outcome(cfg, kept[cfg], None)) for cfg in cfgs]


def train_missing(cfgs, data, runs, inception, scheduler):
    """train_grid for configs of which no run is kept."""
    if not scheduler:
        if can_be_read_again(data) and is_shared():
            return train_side_by_side(cfgs, data, expand(runs, "runs"), inception)
        in_turn = (
            outcome(cfg, lambda cfg=cfg: train_one(cfg, data, runs, inception)) for cfg in cfgs
        )
        return collect(in_turn, len(cfgs))
    for cfg in cfgs[:1]:
        write_job(cfg, data, runs)  # refuses what a worker cannot read
    runs = expand(runs, "runs").resolve()
    runs.mkdir(parents=True, exist_ok=True)
    with connect(scheduler) as client:
        hosts = list(client.run_on_scheduler(list_hosts).values())
        # now, and not when one has died: threads round otherwise
        workers = {host: hosts.count(host) for host in hosts}
        futures = [
            client.submit(
                train_on_worker,
                cfg,
                data.loaded,
                data.fingerprint,
                str(runs),
                inception,
                workers,
                pure=False,
            )
            for cfg in cfgs
        ]
        return collect(
            (outcome(cfg, future.result) for cfg, future in zip(cfgs, futures)), len(cfgs)
        )


def can_be_read_again(data):
    """Whether another process can read these images as they are."""
    return data.loaded is not None and not data.changed


def is_shared():
    """Whether processes that train at the same time do more than one after another: on the cores of
    a CPU; on the only GPU where NVIDIA's MPS runs, without which they take turns (docs/gpus.md)."""
    if not torch.cuda.is_available():
        return True
    if torch.cuda.device_count() > 1:
        return False  # all would train on the first one
    pipes = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return (Path(pipes) / "control").exists()


def how_many(n, data):
    """How many of n runs train side by side on this machine: one for each core that this process
    may use, on a GPU ON_GPU at most, as long as there is memory for them. Two runs of a thread each
    do 1.2 to 1.4 times the work of one with two (docs/speed.md)."""
    images = sum(side.nbytes for split in (data.train, data.val, data.test) for side in split)
    room = psutil.virtual_memory().available / (PROCESS + 2 * images)
    if torch.cuda.is_available():
        room = min(room, ON_GPU, torch.cuda.mem_get_info()[0] / GPU_PROCESS)
    return int(max(1, min(len(os.sched_getaffinity(0)), n, room)))


def train_side_by_side(cfgs, data, runs, inception):
    """The Outcomes of runs that train at the same time, each in a process of its own. Each has its
    share of the cores, which rests on how many runs there are and not on how many are left, so
    that they round alike; or, where it goes on, as many threads as before. Where this is
    interrupted they end, with a checkpoint each."""
    cores = len(os.sched_getaffinity(0))
    share = max(1, min(cores // min(cores, len(cfgs)), torch.get_num_threads())) if cfgs else 1
    waiting = {runs / cfg.name(data.fingerprint): cfg for cfg in cfgs}
    at_once = how_many(sum(not is_finished(folder) for folder in waiting), data)
    under_way, outcomes = {}, {}
    label = "training the runs of the grid"
    with Progress(label, len(waiting), unit="runs") as progress, ExitStack() as stack:
        stack.callback(ask_all_to_end, under_way)  # each hears of it before the first is waited for
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                folder = next(iter(waiting))
                cfg = waiting.pop(folder)
                if is_finished(folder):
                    here = partial(train_one, cfg, data, runs, inception)
                    outcomes[folder] = outcome(cfg, here)
                    progress.add()
                    continue
                find_probe(data)  # now, or each would train it
                threads = find_threads(folder) or share
                try:
                    training = Training(cfg, data, folder, inception, threads)
                    under_way[folder] = stack.enter_context(training)
                except (InputError, OSError) as error:
                    outcomes[folder] = failed(cfg, error)
                    progress.add()
            time.sleep(0.2)
            for folder, training in list(under_way.items()):
                training.look()
                if not training.child.is_running():
                    training.__exit__()
                    outcomes[folder] = outcome(training.cfg, training.get_folder)
                    del under_way[folder]
                    progress.add()
    return [outcomes[runs / cfg.name(data.fingerprint)] for cfg in cfgs]


def ask_all_to_end(under_way):
    """Have all trainings end after the step under way."""
    for training in under_way.values():
        training.child.ask_to_end()


def find_threads(folder):
    """How many threads trained a run that was interrupted, or None: with as many it goes on to the
    last bit."""
    for path in find_checkpoints(folder):
        with suppress(Damaged, KeyError):
            return read_state(path)["tally"]["machine"]["threads"]
    return None


class Training:
    """A run that trains beside others: its process and its bar."""

    def __init__(self, cfg, data, folder, inception, threads):
        self.cfg = cfg
        label = f"{cfg.arch}, recipe {cfg.recipe}, seed {cfg.seed}"
        self.fingerprint = data.fingerprint
        job = write_job(cfg, data, folder, inception=inception)
        self.child = Child(job, threads, whose=f"{label}: ")
        self.progress = Progress(label, cfg.steps, folder)
        self.step = None

    def __enter__(self):
        with ExitStack() as stack:
            stack.enter_context(self.progress)
            stack.enter_context(self.child)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self.stack.close()

    def look(self):
        """Pass on what the process says, and show how far it is."""
        self.child.pass_on()
        step = self.child.find_step()
        if step not in (None, self.step):
            self.step = step
            self.progress.update(step)

    def get_folder(self):
        """The run's folder. Raises InputError where it did not train to the end, or on images
        that are no longer those that were loaded here."""
        self.child.check()
        claim_run_folder(self.child.folder, self.cfg, self.fingerprint)
        return self.child.folder


def collect(outcomes, n):
    """The list of n outcomes, in a bar as they come."""
    found = []
    with Progress("training the runs of the grid", n, unit="runs") as progress:
        for each in outcomes:
            found.append(each)
            progress.add()
    return found


def outcome(cfg, result):
    """The Outcome of a call that gives a folder or raises."""
    try:
        return Outcome(cfg, Path(result()), None)
    except Exception as error:  # whatever became of one run, the others go on
        return failed(cfg, error)


def failed(cfg, error):
    """The Outcome of a run that raised."""
    return Outcome(cfg, None, " ".join(f"{type(error).__name__}: {error}".split()))


def train_one(cfg, data, runs, inception):
    """The folder of the finished run of a config, trained now if need be."""
    return str(fit_or_load(cfg, data, runs, inception=find_once(inception)).folder)


def train_on_worker(cfg, loaded, fingerprint, runs, inception, workers=None):
    """train_one in a worker, which reads the data itself, once, and on a GPU of its own; one run
    at a time, however many threads it has. workers: how many there are on each host, by which
    they share its cores."""
    with ALONE:
        return train_alone(cfg, loaded, fingerprint, runs, inception, workers or {})


def train_alone(cfg, loaded, fingerprint, runs, inception, workers):
    """See train_on_worker."""
    if not Path(runs).is_dir():
        raise InputError(
            f"{runs}: this worker does not see it; expected a folder that all workers share"
        )
    data = read_once(
        tuple(
            (name, tuple(value) if isinstance(value, list) else value)
            for name, value in loaded.items()
        )
    )
    if data.fingerprint != fingerprint:
        raise InputError(
            f"data {loaded['data']}: this worker finds other images there; expected the same files "
            "on every machine"
        )
    place, host = find_place()
    if torch.cuda.is_available():
        torch.cuda.set_device(place % torch.cuda.device_count())
    # Dask allows one thread
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // workers.get(host, 1)))
    return train_one(cfg, data, runs, inception)


def find_place():
    """(which one this worker is among those of its host, the host), by their addresses; (0, "")
    outside of Dask."""
    try:
        from distributed import get_worker, worker_client

        worker = get_worker()
    except (ImportError, ValueError):
        return 0, ""
    with worker_client(separate_thread=False) as client:
        hosts = client.run_on_scheduler(list_hosts)
    mine = sorted(address for address, host in hosts.items() if host == hosts[worker.address])
    return mine.index(worker.address), hosts[worker.address]


def list_hosts(dask_scheduler):
    """{address of a worker: its host}, asked of the scheduler."""
    return {address: known.host for address, known in dask_scheduler.workers.items()}


@lru_cache(maxsize=1)
def read_once(loaded):
    """load_domains of these arguments, kept for the next run in the same worker."""
    from ganlib.data.domains import load_domains

    return load_domains(**dict(loaded))


@lru_cache(maxsize=1)
def find_once(inception):
    """find_inception, kept for the next run in the same process."""
    from ganlib.evaluate.inception import find_inception  # takes long to import

    return find_inception(inception)


def connect(scheduler):
    """A Dask client: of a cluster started here ("local"), which ends with it, or of the
    scheduler at an address."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError(
            f"scheduler {scheduler!r}: needs Dask, which is not installed: {INSTALL}"
        ) from None
    if scheduler == "local":
        environment = dict(os.environ)
        # processes that a nanny starts again when they die; the dashboard listens to nobody
        cluster = LocalCluster(
            n_workers=max(1, torch.cuda.device_count()),
            threads_per_worker=1,
            dashboard_address=None,
            host="127.0.0.1",
            memory_limit=0,  # mapped images are not memory that is used
            # What workers say of their progress would come among the outputs of
            # a notebook
            env={FEED: os.devnull},
        )
        return Owned(cluster, environment)
    try:
        return Client(scheduler, timeout=20)
    except (OSError, ValueError) as error:
        raise InputError(
            f"scheduler {scheduler!r}: no answer ({' '.join(str(error).split())[:100]}); expected "
            '"local" or an address such as '
            "tcp://HOST:8786"
        ) from None


class Owned:
    """The client of a local cluster, as a context that ends both, and takes back what Dask
    leaves in the environment (one thread for MKL and OpenMP, which every process started later
    would inherit)."""

    def __init__(self, cluster, environment):
        self.cluster, self.environment = cluster, environment

    def __enter__(self):
        self.client = self.cluster.get_client()
        return self.client

    def __exit__(self, *error):
        self.client.close()
        self.cluster.close()
        os.environ.clear()
        os.environ.update(self.environment)


def finished(outcomes):
    """The runs of a grid, in order. Says which failed, and raises InputError where none is left."""
    for cfg, _, error in outcomes:
        if error:
            print(f"failed: {cfg.arch}, recipe {cfg.recipe}, seed {cfg.seed}: {error}")
    if not any(folder for _, folder, _ in outcomes):
        raise InputError(
            "all runs of the grid failed; the first: "
            + next((error for _, _, error in outcomes), "no config was given")
        )
    return [load_run(folder) for _, folder, _ in outcomes if folder]
