"""The fault campaign: trainings that are killed, starved of disk, stopped, given damaged files;
each has to end as the undisturbed one.

    python tests/faults.py      make faults: 120 kills, half an hour on two cores; prints a table,
                                exit status 1 if anything was lost
    python tests/faults.py --kills 3    a small one; tests/test_faults.py calls the same functions

Each function does one kind of fault, raises AssertionError where something was lost, and returns
(times tried and survived, a remark). Trainings are forked from this process, which has
everything imported and drawn, so that a kill costs a tenth of a second and not four."""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import psutil
import torch

from ganlib import loop
from ganlib.config import Execution, TrainConfig
from ganlib.data.domains import load_domains
from ganlib.errors import InputError
from ganlib.evaluate import probe as evaluate_probe
from ganlib.runs import checkpoint as runs_checkpoint
from ganlib.runs import finished as runs_finished
from ganlib.runs import folder as runs_folder

# bytes: for less than a config, a log, a checkpoint
ROOM = (400, 1_200, 100_000, 450, 1_000, 1_400, 10_000, 200_000, 400_000, 700_000)
KEPT = {"config.json", "metrics.json", "metrics.jsonl", "strip.png", *runs_folder.FILES}


def load_faces():
    """Built-in faces at 32 pixels, few enough for a training of a second."""
    return load_domains("builtin", 32, builtin_a=12, builtin_b=14, builtin_eval=5)


def small(arch="cyclegan", steps=24, **values):
    """A config of a training of a second or two, with a pool that is soon full and validations
    in the middle of a pass."""
    return TrainConfig.from_recipe(
        "default",
        **(
            dict(
                arch=arch,
                image_size=32,
                ngf=4,
                ndf=4,
                batch_size=2,
                steps=steps,
                epoch_steps=7,
                pool_size=5,
                precision="float32",
            )
            | values
        ),
    )


def start(cfg, faces, folder, said=os.devnull, limit=None, **given):
    """Train in a process of its own, as `python -m ganlib.train` would; returns its number.
    limit: bytes that a file may have."""
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with open(said, "w", buffering=1) as out, redirect_stdout(out), redirect_stderr(out):
            torch.set_num_threads(1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
            if limit:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                if (
                    runs_folder.is_finished(folder)
                    and "scores" in runs_finished.load_run(folder).metrics
                ):
                    runs_finished.reopen(folder, faces)
                else:
                    loop.fit(cfg, faces, folder, Execution(**{"checkpoint_seconds": 0} | given))
                status = 0
            except (InputError, FloatingPointError) as error:
                print(f"error: {error}", flush=True)
                status = 2
            except KeyboardInterrupt:
                status = 130
    finally:
        os._exit(status)


def wait(pid):
    """The exit status of a process of start; negative: the signal that it died of."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until(true, pid=None, seconds=120):
    """Wait for a function to be true; AssertionError when that takes too long, or the process
    has ended before."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "waited in vain"
        assert (
            pid is None
            or not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            or true()
        ), "it ended before"
        time.sleep(0.001)


def steps_logged(folder):
    """Steps in the log of a training under way."""
    try:
        return (folder / runs_folder.LOG).read_text().count('"train"')
    except OSError:
        return 0


def newest(folder):
    """The step of the newest checkpoint, which has to be whole; 0 where there is none."""
    found = runs_folder.find_checkpoints(folder)
    return runs_checkpoint.read_state(found[0])["step"] if found else 0


def finish(cfg, faces, folder, said, whole):
    """Start a run again: it has to go on from its newest checkpoint, and to end as the
    undisturbed one."""
    step, done = newest(folder), runs_folder.is_finished(folder)
    assert wait(start(cfg, faces, folder, said)) == 0, said.read_text()
    assert done or not step or f"going on from step {step} of {cfg.steps}" in said.read_text(), (
        f"{folder}: began anew, not from {step}"
    )
    assert_same(folder, whole)
    return step


def content(folder):
    """What has to be equal between two runs: all weights, the log, the faces, the test losses and
    scores."""
    figures = json.loads((folder / "metrics.json").read_text())
    return (
        [runs_folder.read_weights(folder / name, "cpu") for name in runs_folder.FILES],
        (folder / "metrics.jsonl").read_text(),
        (folder / "strip.png").read_bytes(),
        {name: figures[name] for name in ("test", "scores", "best_step", "warnings")},
    )


def assert_same(folder, whole):
    """That a run equals the undisturbed one (see content), to the last bit, and that nothing
    else is left in its folder."""
    (ours, *rest), (theirs, *expected) = content(folder), whole
    for a, b in zip(ours, theirs):
        assert a.keys() == b.keys() and all(
            torch.equal(a[net][key], b[net][key]) for net in a for key in b[net]
        ), f"{folder}: other weights"
    assert rest == expected, f"{folder}: another log or other scores"
    left = {path.name for path in folder.iterdir()} - KEPT
    assert not left, f"{folder}: left behind: {left}"


WHOLE = {}  # content of a run that nothing happened to, by its config and images


def undisturbed(cfg, faces, folder):
    """The content of a run that nothing happened to; each is trained once."""
    key = cfg, faces.fingerprint
    if key not in WHOLE:
        assert wait(start(cfg, faces, folder)) == 0
        WHOLE[key] = content(folder)
    return WHOLE[key]


def killed(faces, work, kills, seed=0, configs=None):
    """kill -9 at random moments, each second one as soon as a file is being written, until so
    many have hit, with checkpoints at each step or some apart; every run then ends the same."""
    draw, tried, in_writing, resumed = random.Random(seed), 0, 0, 0
    for name, cfg in (
        configs
        or {
            "CycleGAN": small(),
            "UVCGAN": small("uvcgan"),
            "no pool, no EMA": small(pool_size=0, ema=0.0),
        }
    ).items():
        begun = time.perf_counter()
        whole = undisturbed(cfg, faces, work / f"{name}, whole")
        seconds, hit, run = time.perf_counter() - begun, 0, 0
        while hit < kills:
            folder, run = work / f"{name}, killed {run}", run + 1
            while True:
                pid = start(cfg, faces, folder, checkpoint_seconds=draw.choice([0, 0.1, 0.5]))
                moment, writing = (
                    time.perf_counter() + draw.uniform(0.02, 0.6) * seconds,
                    draw.random() < 0.5,
                )
                while time.perf_counter() < moment or writing and not list(folder.glob(".*.part")):
                    time.sleep(0.0005)
                    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                        break
                os.kill(pid, signal.SIGKILL)
                status, resumed = wait(pid), resumed + (newest(folder) > 0)
                assert status in (0, -9), f"{folder}: exit status {status}"
                in_writing += bool(list(folder.glob(".*.part")))
                hit += status == -9
                if status == 0 or hit >= kills:
                    break
            finish(cfg, faces, folder, work / "said", whole)
        tried += hit
    assert resumed > tried / 3, "hardly one went on from a checkpoint, so nothing was tried"
    return tried, f"{in_writing} of them while a file was written"


def interrupted(faces, work, times, number, steps=60):
    """SIGTERM or SIGINT in the middle: it ends after the step under way, with a checkpoint and a
    word, and goes on from that very step."""
    cfg, draw = small(steps=steps), random.Random(number)
    whole = undisturbed(cfg, faces, work / f"whole {number}")
    for i in range(times):
        folder, said = work / f"stopped {number} {i}", work / f"said {number} {i}"
        pid, at = (
            start(cfg, faces, folder, said, checkpoint_seconds=3600),
            draw.randint(2, steps // 3),
        )
        until(lambda: steps_logged(folder) >= at, pid)
        os.kill(pid, number)
        status, told = wait(pid), said.read_text()
        assert status == {signal.SIGTERM: 143, signal.SIGINT: 130}[number], (status, told)
        assert f"stopped after step {newest(folder)} of {steps}" in told, told
        assert at <= finish(cfg, faces, folder, said, whole)
    return times, "each went on from the step it was stopped after"


def full_disk(faces, work, sizes, steps=24):
    """No room (a limit on the size of a file, of which some bytes are left for what it says): a
    line that names the path, status 2, and what was whole stays whole."""
    cfg = small(steps=steps)
    whole, where = undisturbed(cfg, faces, work / "whole, full disk"), set()
    for size in sizes:
        folder, said = work / f"full at {size}", work / f"said, full at {size}"
        pid = start(cfg, faces, folder)
        until(
            lambda: [
                path
                for path in runs_folder.find_checkpoints(folder)
                if path.name > "checkpoint-000000006"
            ],
            pid,
        )
        os.kill(pid, signal.SIGKILL)
        wait(pid)
        if size < 500:  # less than a config: one that is there is only read
            (folder / "config.json").unlink()
        status = wait(start(cfg, faces, folder, said, limit=size))
        told = said.read_text().splitlines()[-1]
        assert status == 2 and "no space left to write it" in told and str(folder) in told, (
            size,
            status,
            told,
        )
        where.add(told.split(": no space")[0].rsplit("/", 1)[1].split("-")[0])
        finish(cfg, faces, folder, said, whole)
    return len(sizes), "full while writing " + ", ".join(sorted(where))


def damaged(faces, work, times, seed=0, steps=24):
    """The newest checkpoint cut off, empty, with a bit turned over, of another version or not
    one at all: named, and the one before it is used."""
    cfg, draw = small(steps=steps), random.Random(seed)
    whole = undisturbed(cfg, faces, work / "whole, damaged")
    kinds = {
        "cut off": lambda data: data[: draw.randrange(100, len(data))],
        "empty": lambda data: b"",
        "checksum": lambda data: flip(data, draw),
        "version 9": lambda data: data.replace(b"checkpoint 1 ", b"checkpoint 9 ", 1),
        "not a checkpoint": lambda data: b"\x80\x04N." * 30,
    }
    for i in range(times):
        kind, folder, said = (
            list(kinds)[i % len(kinds)],
            work / f"damaged {i}",
            work / f"said, damaged {i}",
        )
        pid = start(cfg, faces, folder)
        until(lambda: len(runs_folder.find_checkpoints(folder)) == 2, pid)
        os.kill(pid, signal.SIGKILL)
        wait(pid)
        last, before = runs_folder.find_checkpoints(folder)[:2]
        last.write_bytes(kinds[kind](last.read_bytes()))
        assert wait(start(cfg, faces, folder, said)) == 0, said.read_text()
        assert (
            f"{last}: " in (told := said.read_text())
            and kind in told
            and f"by {before.name}" in told
        ), told
        assert_same(folder, whole)
    return times, "named, and the one before it used"


def flip(data, draw):
    """The bytes with one bit turned over, behind the first line."""
    at = draw.randrange(data.index(b"\n") + 1, len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def two_in_one_folder(faces, work, times, steps=100):
    """A second process in a run folder is refused with the first one's number; a dead one's lock
    holds nobody up."""
    cfg = small(steps=steps)
    whole = undisturbed(cfg, faces, work / "whole, two")
    for i in range(times):
        folder, said = work / f"two {i}", work / f"said, two {i}"
        first = start(cfg, faces, folder)
        until(lambda: runs_folder.find_checkpoints(folder), first)
        assert (
            wait(start(cfg, faces, folder, said)) == 2
            and f"in use by process {first} on " in said.read_text()
        ), said.read_text()
        os.kill(first, signal.SIGKILL)
        wait(first)
        assert finish(cfg, faces, folder, said, whole) > 0
    return times, "the second refused; a dead one's lock taken over"


def two_processes(faces, work, kills):
    """torchrun with two processes, the whole of it killed at random moments, each second time
    told to end by SIGTERM: the run ends as one of two processes that was left alone."""
    cfg, draw, hit, said = (
        small(batch_size=4, steps=20 + 20 * kills),
        random.Random(0),
        0,
        work / "said, two processes",
    )
    folders = [work / "two processes, whole", work / "two processes, killed"]
    for folder in folders:
        job = work / f"{folder.name}.yaml"
        job.write_text(
            json.dumps(
                {
                    "train": {**vars(cfg), "image_size": 32},
                    "folder": str(folder),
                    "data": faces.loaded | {"image_size": 32},
                }
            )
        )
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "ganlib.train",
            str(job),
        ]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        while folder is folders[1] and hit < kills:
            before = runs_folder.find_checkpoints(folder)[:1]
            with open(said, "w") as out:
                ranks = subprocess.Popen(
                    command, env=env, stdout=out, stderr=out, start_new_session=True
                )
            until(lambda: runs_folder.find_checkpoints(folder)[:1] != before)
            time.sleep(draw.uniform(0, 0.5))
            assert ranks.poll() is None, said.read_text()
            if hit % 2:
                ranks.terminate()
                ranks.wait()
                assert f"stopped after step {newest(folder)} of {cfg.steps}" in said.read_text(), (
                    said.read_text()
                )
            else:
                for process in [
                    *(torchrun := psutil.Process(ranks.pid)).children(recursive=True),
                    torchrun,
                ]:
                    with suppress(psutil.NoSuchProcess):  # with the one that had started it
                        process.kill()
                ranks.wait()
            hit += 1
        step = newest(folder)
        told = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
        assert not step or f"going on from step {step} of {cfg.steps}" in told, told
    assert_same(folders[1], content(folders[0]))
    return hit, "to the last bit, as a run of two processes"


def soak(faces, work, steps):
    """Many steps at a tiny size: memory and file handles flat after the first tenth, log and
    checkpoints of bounded size."""
    cfg = small(steps=steps, ngf=2, ndf=2, image_size=32, epoch_steps=max(1, steps // 40))
    folder, seen = work / "soak", []
    pid = start(cfg, faces, folder, checkpoint_seconds=2)
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.05)
        try:
            memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
            handles = len(os.listdir(f"/proc/{pid}/fd"))
            log = (folder / "metrics.jsonl.part").stat().st_size
            seen.append(
                (
                    log,
                    memory,
                    handles,
                    len(runs_folder.find_checkpoints(folder)),
                    max(
                        (p.stat().st_size for p in runs_folder.find_checkpoints(folder)), default=0
                    ),
                )
            )
        except OSError:
            pass  # between two files
    assert wait(pid) == 0
    size = (folder / "metrics.jsonl").stat().st_size
    flat = [row for row in seen if row[0] > size / 10 and row[0] < size]
    assert len(flat) > 5, "it was over before it could be looked at"
    memory, handles, files = [[row[i] for row in flat] for i in (1, 2, 3)]
    assert max(memory) <= 1.05 * memory[0], f"memory grew from {memory[0]:,} to {max(memory):,}"
    assert max(handles) - min(handles) <= 2 and max(files) <= 2 + 1, (handles, files)
    assert size < 20_000 * 400 + 40 * 600, size
    whole = runs_finished.load_run(folder)
    assert len(whole.history) <= 20_000 + 41
    return steps, (
        f"memory {memory[0] / 2**20:.0f} to {max(memory) / 2**20:.0f} MiB, {max(handles)} handles "
        f"at most, log {size / 1e6:.1f} MB, checkpoints {max(row[4] for row in flat) / 1e3:.0f} kB"
    )


def main(arguments=None):
    """Run the campaign in a temporary folder; prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40, help="of each of three configs")
    parser.add_argument("--times", type=int, default=10, help="of every other fault")
    parser.add_argument("--soak", type=int, default=20_000, help="steps")
    options = parser.parse_args(arguments)
    kills, n, lost, beside = options.kills, options.times, 0, None
    if options.soak and (kills or n):  # it takes as long as all the others, and one core
        beside = subprocess.Popen(
            [sys.executable, __file__, "--kills", "0", "--times", "0", "--soak", str(options.soak)],
            stdout=subprocess.PIPE,
            text=True,
        )
    print(
        "| fault | times tried | survived | lost | | time |\n|---|---|---|---|---|---|", flush=True
    )
    torch.set_num_threads(1)  # more could not be forked
    faces = load_faces()
    with tempfile.TemporaryDirectory(prefix="ganlib faults – ") as work:
        evaluate_probe.CACHE = Path(work) / "cache"
        work = Path(work)
        # Trains the probe, and imports what is only imported when it is used
        loop.fit(small(steps=1), faces, work / "first")
        for name, times, fault in [
            ("kill -9 at random moments", kills, lambda: killed(faces, work, kills)),
            ("SIGTERM", n, lambda: interrupted(faces, work, n, signal.SIGTERM)),
            ("Ctrl-C", n, lambda: interrupted(faces, work, n, signal.SIGINT)),
            ("full disk", n, lambda: full_disk(faces, work, ROOM[:n])),
            ("damaged checkpoint", n, lambda: damaged(faces, work, n)),
            ("two processes in one folder", n, lambda: two_in_one_folder(faces, work, n)),
            (
                "torchrun of two, kill -9 and SIGTERM",
                n,
                lambda: two_processes(faces, work, max(1, n // 3)),
            ),
            (
                "steps of one training",
                options.soak if not beside else 0,
                lambda: soak(faces, work, options.soak),
            ),
        ]:
            if not times:
                continue
            begun = time.perf_counter()
            try:
                tried, remark = fault()
                row = name, f"{tried:,}", f"{tried:,}", "nothing", remark
            except Exception as error:  # the others are tried all the same
                row, lost = (
                    (name, "", "not all", "see there", f"{type(error).__name__}: {error}"),
                    lost + 1,
                )
            print("| " + " | ".join(row) + f" | {time.perf_counter() - begun:.0f} s |", flush=True)
            for path in work.iterdir():
                if path != evaluate_probe.CACHE:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if beside:
        print(*beside.communicate()[0].splitlines()[2:], sep="\n")
        lost += beside.returncode
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
