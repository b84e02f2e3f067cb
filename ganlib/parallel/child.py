"""A training in a process of its own: started, listened to, and ended with a checkpoint."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import yaml

from ganlib.config import Execution, plain_config
from ganlib.errors import InputError
from ganlib.runs.checkpoint import describe_checkpoint
from ganlib.show.progress import FEED

LIBC = ctypes.CDLL(None)


class Child:
    """A run that `python -m ganlib.train` trains, in one process or, by torchrun, in several. A
    context: as it is left the training is ended, after the step under way and with a checkpoint.

    job: what the command takes, with a folder. threads: of each process. whose: what the lines that
    it says are begun with, where several train.
    """

    def __init__(self, job, threads, processes=1, whose=""):
        self.job = job
        self.processes = processes
        self.folder = Path(job["folder"])
        self.whose = whose
        self.work = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.feed = Path(self.work.name) / "progress"
        self.said = Path(self.work.name) / "said"
        self.environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.environment |= {FEED: str(self.feed), "PYTHONIOENCODING": "utf-8"}

    def __enter__(self):
        config = Path(self.work.name) / "job.yaml"
        config.write_text(yaml.safe_dump(self.job, default_style='"'), encoding="utf-8")
        self.feed.touch()
        command = [sys.executable, "-m"]
        if self.processes > 1:
            command += ["torch.distributed.run", "--standalone", "--log-dir", self.work.name]
            command += ["--nproc-per-node", str(self.processes), "-m"]
        command += ["ganlib.train", str(config)]
        with open(self.said, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.heard = open(self.said, encoding="utf-8", errors="replace")
        return self

    def __exit__(self, *_):
        if self.heard.closed:
            return
        self.ask_to_end()
        while self.is_running():  # torchrun waits for its processes half a minute at most
            with suppress(KeyboardInterrupt):
                self.process.wait()
        self.pass_on()
        self.heard.close()
        self.lines = self.said.read_text(encoding="utf-8", errors="replace").splitlines()
        self.work.cleanup()

    def is_running(self):
        return self.process.poll() is None

    def ask_to_end(self):
        """Have it end after the step under way, with a checkpoint."""
        if self.is_running():
            self.process.terminate()

    def find_step(self):
        """The step that it has come to, or None."""
        step = None
        for line in self.feed.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                update = json.loads(line)
                if update["folder"]:  # and not that of a probe
                    step = update["step"]
        return step

    def pass_on(self):
        """Print the lines that a user would have seen if it trained here."""
        for line in self.heard:
            if line.startswith(("warning: ", "going on ", "stopped after ")):
                print(f"{self.whose}{line}", end="", flush=True)

    def check(self):
        """After it has ended: raise InputError, with the line that it ended with, unless it has
        trained to the end."""
        if not self.process.returncode:
            return
        for line in self.lines:
            if line.startswith("error: "):
                raise InputError(line.removeprefix("error: "))
        raised = "it said nothing"
        for line in self.lines:
            if "Error" in line.split(":")[0]:
                raised = line
        lost = f"{self.processes} processes: one of them was lost"
        if self.processes == 1:
            lost = "the process that trained it was lost"
        raise InputError(f"{lost} ({raised[:200]}); {describe_checkpoint(self.folder)}")


def write_job(cfg, data, folder, how=Execution(), inception=""):
    """What `python -m ganlib.train` takes for a run. InputError for data that another process
    cannot read as it is."""
    if data.loaded is None or data.changed:
        raise InputError(
            f"data {data.name}: each process reads the data itself, and does not see what was "
            "changed in memory; expected what load_domains gave, as it was"
        )
    return {
        "train": plain_config(cfg),
        "data": data.loaded,
        "folder": str(Path(folder).resolve()),
        "accumulate": how.accumulate,
        "resume": how.resume,
        "inception": str(inception or ""),
        "init_from": str(how.init_from),
        "tensorboard": how.tensorboard,
    }


def end_with_parent():
    """Have Linux send SIGTERM to this process when the one that started it has died."""
    LIBC.prctl(1, signal.SIGTERM)
