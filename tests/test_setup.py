"""The way in: what is installed is named once, and a machine that lacks something is told so."""

import os
import subprocess
import sys
import tomllib

import pytest
import yaml

from ganlib import ROOT


def test_environment_file_names_no_dependency_of_its_own():
    names = [d for d in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert names == [f"python{project['requires-python']}", "pip", {"pip": ["-e ."]}]


def test_every_package_is_installed_with_the_project():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = sorted(str(p.parent.relative_to(ROOT)).replace("/", ".") for p in (ROOT / "ganlib").rglob("__init__.py"))
    assert sorted(settings["tool"]["setuptools"]["packages"]) == found


def fake_python(folder, script):
    (folder / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "python3").chmod(0o755)
    return folder / "python3"


@pytest.mark.parametrize("script, message", [
    ('case "$*" in *version_info*) exit 1;; *) echo "Python 3.9.2";; esac', "ganlib needs Python 3.11 or newer, and found none"),
    ('case "$*" in *ensurepip*) exit 1;; *version_info*) exit 0;; *) echo "Python 3.12.1";; esac', "ganlib needs Python's venv module")])
@pytest.mark.parametrize("target", ["report", "test"])
def test_python_that_cannot_be_used_is_told_in_one_line(tmp_path, script, message, target):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").write_text("")
    done = subprocess.run(["make", "-C", tmp_path, target, f"PYTHON={fake_python(tmp_path, script)}"], capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode and len(lines) == 1 and message in lines[0]
    assert not (tmp_path / ".venv").exists()


def test_importing_ganlib_prints_and_creates_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import ganlib, ganlib.data, ganlib.train, ganlib.plots, ganlib.report"], cwd=tmp_path,
                          capture_output=True, text=True, env=os.environ | {"MPLCONFIGDIR": str(tmp_path / "mpl")})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {p.name for p in tmp_path.iterdir()} <= {"mpl"}
