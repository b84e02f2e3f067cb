"""The notebooks in JupyterLab: copies that are worked in, and who may reach it."""

import json
import os
import subprocess

import pytest

from ganlib import ROOT
from ganlib.lab import __main__ as lab_command


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A function that runs lab.main on a project of one notebook, and gives the command that it
    would become."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr("ganlib.lab.__main__.NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr("ganlib.lab.__main__.COPIES", tmp_path / "mine")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/of/the/user")
    commands = []
    monkeypatch.setattr(lab_command.os, "execv", lambda _, command: commands.append(command))
    write(tmp_path / "notebooks/01.ipynb", "one", "é")

    def start(*arguments):
        assert lab_command.main(list(arguments)) is None
        return commands.pop()

    return start


def write(path, source, printed):
    cell = {
        "cell_type": "code",
        "source": [source],
        "outputs": [{"output_type": "stream", "name": "stdout", "text": [printed]}],
    }
    path.write_text(
        json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}),
        encoding="utf-8",
    )


def test_copies_are_made_when_missing_and_never_overwritten_and_a_newer_original_is_told(
    started, tmp_path, capsys
):
    original, copy = tmp_path / "notebooks/01.ipynb", tmp_path / "mine/01.ipynb"
    before = original.read_bytes()
    assert started()[-1] == str(tmp_path / "mine")
    assert (
        capsys.readouterr().out == f"your copies of the notebooks: {tmp_path}/mine\n"
        and original.read_bytes() == before
    )
    assert json.loads(copy.read_text())["cells"] == json.loads(before)["cells"]
    mine = json.loads(copy.read_text())
    mine["cells"][0]["source"] = ["my own"]
    copy.write_text(json.dumps(mine))
    write(original, "one", "executed anew")
    started()
    assert len(capsys.readouterr().out.splitlines()) == 1, "what it gives is no newer version"
    write(original, "two", "2")
    started()
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"01.ipynb: the project has a newer one than your copy; to get it, rename {copy} and start "
        "again"
    ]
    assert json.loads(copy.read_text()) == mine
    copy.rename(copy.with_name("my 01.ipynb"))
    started()
    assert len(capsys.readouterr().out.splitlines()) == 1 and json.loads(copy.read_text())["cells"][
        0
    ]["source"] == ["two"]
    copy.write_text("{")
    started()
    assert (
        "01.ipynb: the project has a newer one" in capsys.readouterr().out
        and copy.read_text() == "{"
    )


def test_copies_that_cannot_be_written_are_told_in_one_line(started, tmp_path, capsys):
    (tmp_path / "mine").write_text("a file")
    assert lab_command.main([]) == 2
    said = capsys.readouterr().err
    assert (
        said.startswith(f"error: {tmp_path}/mine/01.ipynb: cannot be written")
        and said.count("\n") == 1
    )


def test_copies_lie_where_git_does_not_look():
    assert (
        subprocess.run(
            ["git", "check-ignore", "-q", "reports/notebooks/01_data_analysis.ipynb"], cwd=ROOT
        ).returncode
        == 0
    )


@pytest.mark.parametrize(
    "user, given, expected",
    [
        (1000, [], ["--ip=127.0.0.1"]),
        (0, [], ["--ip=127.0.0.1", "--allow-root"]),
        (0, ["--port", "8899"], ["--ip=127.0.0.1", "--allow-root", "--port", "8899"]),
        (0, ["--ip", "0.0.0.0"], ["--ip", "0.0.0.0"]),
        (0, ["--ServerApp.ip=0.0.0.0"], ["--ServerApp.ip=0.0.0.0"]),
        (0, ["--ip=0.0.0.0", "--allow-root"], ["--ip=0.0.0.0", "--allow-root"]),
    ],
)
def test_arguments_are_handed_on_and_root_may_only_where_nobody_else_reaches_it(
    started, monkeypatch, user, given, expected
):
    monkeypatch.setattr(lab_command.os, "geteuid", lambda: user)
    command = started(*given)
    assert [argument for argument in command[3:-1] if argument not in lab_command.QUIET] == expected
    assert os.environ["JUPYTER_CONFIG_PATH"].endswith(f"ganlib/lab{os.pathsep}/of/the/user")
