"""The command `ganlib`: subcommands that are imported when they are asked for, lines that cannot be
understood, completion."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module

import click
import pytest
import yaml

from ganlib import ROOT
from ganlib import __main__ as entry
from ganlib.runs.folder import find_checkpoints
from ganlib.system import commands as cli

NAMES = ("report", "train", "translate", "export", "import", "compare", "doctor")
NAMES += ("check", "bench", "runs", "faces", "lab", "keep")
HEAVY = ("torch", "pandas", "matplotlib", "papermill")
# What was to be written before there was one command
OLD = {
    "report": "report",
    "train": "train",
    "translate": "use",
    "compare": "compare",
    "doctor": "doctor",
    "bench": "bench",
    "faces": "faces",
    "lab": "lab",
    "keep": "runs.kept",
}


def ganlib(*arguments, **env):
    """`python -m ganlib` with these arguments, ended."""
    command = [sys.executable, "-m", "ganlib", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | env)


def imported(*arguments):
    """What `ganlib` says, and which modules that take long to import it imports for it."""
    script = (
        "import sys; from ganlib.system.commands import main; status = main(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr); "
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_there_are_these_subcommands_and_the_table_names_them():
    assert tuple(cli.COMMANDS) == NAMES
    for module, text in cli.COMMANDS.values():
        assert isinstance(import_module(module).command, click.Command)
        assert text.endswith(".") and len(text) < 60


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_subcommand_imports_nothing_that_takes_long(name):
    said, heavy = imported(name, "--help")
    assert heavy == "[]\n" and said.startswith(f"Usage: ganlib {name} ") and said.isascii()


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_command_alone_tells_its_subcommands(arguments):
    said, heavy = imported(*arguments)
    assert heavy == "[]\n" and said.startswith("Usage: ganlib ") and said.isascii()
    assert [name for name in NAMES if f"\n  {name} " not in said] == []


def test_version_is_told_without_torch():
    said, heavy = imported("--version")
    assert heavy == "[]\n"
    assert re.fullmatch(r"ganlib \d[\w.]*, Python 3\.\d+\.\d+, torch \d[\w.+]*\n", said)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (
            ["reprot"],
            "error: reprot: no such subcommand (did you mean report?); there are "
            f"{', '.join(NAMES)}; see `ganlib --help`\n",
        ),
        (
            ["x\n"],
            f"error: x\\n: no such subcommand; there are {', '.join(NAMES)}; see `ganlib --help`\n",
        ),
        (["--verson"], "error: No such option"),
        (["report", "quick", "--resum"], "error: No such option"),
        (
            ["report", "-p", "steps=5"],
            "error: Option '-p' requires 2 arguments; see `ganlib report --help`\n",
        ),
        (["report"], "error: expected SETTINGS, such as quick, or --list alone"),
        (["bench", "--arch", "gan"], "error: Invalid value for '--arch': 'gan' is not one of "),
        (["faces", "x", "--size", "big"], "error: Invalid value for '--size': "),
        (
            ["runs", "--yes"],
            "error: --yes goes with --clean, and --json does not; see `ganlib runs --help`\n",
        ),
        (["compare", "nowhere"], "error: run folder nowhere: no such folder"),
    ],
)
def test_what_cannot_be_understood_is_told_in_one_line(arguments, told, capsys):
    assert cli.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(told) and said.err.count("\n") == 1 and said.out == ""
    if told.startswith(("error: No such", "error: Invalid")):
        name = "ganlib" if arguments[0].startswith("-") else f"ganlib {arguments[0]}"
        assert said.err.endswith(f"; see `{name} --help`\n")


@pytest.mark.parametrize("name", OLD)
def test_old_calls_take_the_same_line_by_their_own_names(name, monkeypatch, capsys):
    module = import_module(cli.COMMANDS[name][0])
    taken = []
    monkeypatch.setattr(module.command, "callback", lambda **values: taken.append(values) or 7)
    line = {
        "report": "quick -p steps 500 --resume -p lr 5e-4 --out page",
        "train": "my_run.yaml",
        "translate": "RUN a.png b.png --to B --resize --out new",
        "compare": "a b --format json --weights best",
        "doctor": "set --image-size 32x48 --domain-a x --value-range -1 9 --out o --json --no-cost",
        "bench": "--arch uvcgan --recipe seed --image-size 32 --ngf 4 --ndf 8 --batch-size 2 "
        "--steps 3 --accumulate 2 --precision float32 --device cpu --compile --growth --curves 9 "
        "--json out.json",
        "faces": "new --size 16 --train-a 1 --train-b 2 --seed 3 --eval 4",
        "lab": "--port 8899 --no-browser -y --ip=0.0.0.0 x",
        "keep": "a b --into there",
    }[name].split()
    assert module.main(line) == cli.main([name, *line]) == 7
    assert taken[0] == taken[1] and len(taken[0]) >= 1
    if name == "report":
        assert taken[0]["overrides"] == (("steps", "500"), ("lr", "5e-4")) and taken[0]["resume"]
    if name == "lab":
        assert list(taken[0]["given"]) == line
    monkeypatch.undo()
    assert module.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: python -m ganlib.{OLD[name]} ")


def test_statuses_are_those_of_the_subcommand(tmp_path):
    done = ganlib("runs", str(tmp_path / "none"))
    assert done.returncode == 2 and done.stderr.startswith(
        f"error: {tmp_path}/none: no such folder"
    )
    assert ganlib("nothing").returncode == 2
    assert ganlib("--help", GANLIB_HOME="~nobody_of_this_name").returncode == 2
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "ganlib", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


def test_interrupt_in_a_subcommand_is_not_swallowed(monkeypatch):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("ganlib.runs.__main__").command, "callback", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cli.main(["runs"])


def test_process_ends_as_the_subcommand_has_it(monkeypatch):
    """A report's notebooks may still wait for their kernels."""
    ended = []
    monkeypatch.setattr("ganlib.report.__main__.os._exit", ended.append)
    for name in ("report", "runs"):
        monkeypatch.setattr(sys, "argv", ["ganlib", name])
        with pytest.raises(SystemExit) as end:
            cli.leave(143)
        assert end.value.code == 143
    assert ended == [143]


@pytest.mark.parametrize(
    "line, expected, missing",
    [
        ("ganlib re", {"plain,report"}, "plain,train"),
        ("ganlib ", {f"plain,{name}" for name in NAMES}, "plain,--help"),
        ("ganlib --v", {"plain,--version"}, "plain,report"),
        ("ganlib report --re", {"plain,--resume"}, "plain,--out"),
        ("ganlib report qu", {"plain,quick"}, "plain,full"),
        ("ganlib report mine.y", {"file,mine.y"}, "plain,quick"),
        ("ganlib bench --arch uv", {"plain,uvcgan"}, "plain,cyclegan"),
        ("ganlib compare ", {"dir,"}, "plain,quick"),
        ("ganlib translate reports/ru", {"dir,reports/ru"}, "plain,quick"),
        ("ganlib train ", {"file,"}, "plain,quick"),
    ],
)
def test_bash_completes(line, expected, missing):
    words = line.split(" ")
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = ganlib(**asked, _GANLIB_COMPLETE="bash_complete")
    assert (done.returncode, done.stderr) == (0, "")
    assert expected <= set(done.stdout.splitlines()) and missing not in done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_their_script(shell):
    done = ganlib(_GANLIB_COMPLETE=f"{shell}_source")
    assert done.returncode == 0 and f"_GANLIB_COMPLETE={shell}_complete" in done.stdout


def test_script_is_named_in_the_package():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'ganlib = "ganlib.system.commands:start"' in text and callable(cli.start)
    assert entry.start is cli.start, "what scripts of earlier installations import"


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_training_that_is_stopped_leaves_a_checkpoint(faces, tiny, tmp_path, number, status):
    fields = {**vars(tiny(steps=100_000)), "image_size": 32}
    data = {"data": "builtin", "builtin_a": 12, "builtin_b": 14, "builtin_eval": 5}
    job = {"train": fields, "folder": str(tmp_path / "run"), "data": data}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    process = subprocess.Popen(
        [sys.executable, "-m", "ganlib", "train", str(tmp_path / "job.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    try:
        while not find_checkpoints(tmp_path / "run") and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert process.returncode == status, said
    assert "stopped after step" in said and "Traceback" not in said
