"""The way in: what is installed is named once, and a machine that lacks something is told so."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml

from ganlib import ROOT
from ganlib.system.files import NOTEBOOKS, SETTINGS

# Packages that are imported by another name
CALLED = {"PIL": "pillow", "yaml": "pyyaml", "IPython": "ipython", "xdist": "pytest-xdist"}
UNIMPORTED = {"jupyterlab", "ipykernel", "nbval", "ruff"}  # started by their commands


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def plain(name):
    """A package's name as it is compared, of a line such as "torch-fidelity>=0.4"."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def imported():
    """The packages that ganlib, the tests and the notebooks import, but for Python's own."""
    code = [path.read_text() for path in [*ROOT.glob("ganlib/**/*.py"), *ROOT.glob("tests/*.py")]]
    for path in ROOT.glob("notebooks/*.ipynb"):
        code += [
            "".join(cell["source"])
            for cell in json.loads(path.read_text())["cells"]
            if cell["cell_type"] == "code"
        ]
    nodes = [node for text in code for node in ast.walk(ast.parse(text))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    tops = (
        {name.split(".")[0] for name in names}
        - set(sys.stdlib_module_names)
        - {"ganlib", *[path.stem for path in ROOT.glob("tests/*.py")]}
    )
    return {plain(CALLED.get(top, top)) for top in tops}


def test_what_is_imported_is_named_and_what_is_named_is_used():
    extras = [d for extra in project()["optional-dependencies"].values() for d in extra]
    assert {plain(d) for d in project()["dependencies"] + extras} == imported() | UNIMPORTED


def test_script_beside_a_clone_imports_the_package_and_not_the_clone(tmp_path):
    """Both are called ganlib."""
    (tmp_path / "ganlib/ganlib").mkdir(parents=True)
    (tmp_path / "mine.py").write_text("import ganlib; print(ganlib.ROOT)")
    call = [sys.executable, "mine.py"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT), done.stderr


def test_every_dependency_has_a_lower_bound_and_a_reason():
    text = (ROOT / "pyproject.toml").read_text()
    extras = [d for extra in project()["optional-dependencies"].values() for d in extra]
    for dependency in project()["dependencies"] + extras:
        assert re.fullmatch(r"[a-z0-9-]+>=[\d.]+", dependency), dependency
        assert re.search(rf'"{re.escape(dependency)}"[],]+ +# \w', text), dependency


def test_constraints_are_plain_versions_that_satisfy_every_bound():
    lines = [
        line
        for line in (ROOT / "tests/constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    # No path, no address, no editable project
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in lines)
    tested = {plain(line): line.split("==")[1] for line in lines}
    assert len(tested) == len(lines) and not {"ganlib", "pip", "setuptools"} & set(tested)
    extras = [d for extra in project()["optional-dependencies"].values() for d in extra]
    for dependency in project()["dependencies"] + extras:
        bound, version = [
            tuple(map(int, re.findall(r"\d+", v)[:3]))
            for v in (dependency.split(">=")[1], tested[plain(dependency)])
        ]
        assert version >= bound, dependency


@pytest.mark.parametrize(
    "given, expected",
    [
        ([], "install --quiet --constraint tests/constraints.txt --editable"),
        (["CONSTRAINTS="], "install --quiet --upgrade --upgrade-strategy eager --editable"),
    ],
)
@pytest.mark.parametrize("target", ["report", "compare", "test", "test-fast", "lab", "notebooks"])
def test_every_command_installs_the_tested_versions_unless_told_otherwise(
    tmp_path, target, given, expected
):
    done = subprocess.run(
        ["make", "-n", target, f"VENV={tmp_path}", *given], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and expected in " ".join(done.stdout.split()), done.stderr
    # And anew when either has changed
    for name in ("pyproject.toml", *(["tests/constraints.txt"] if not given else [])):
        (tmp_path / "installed").write_text(f"{ROOT}|{'' if given else 'tests/constraints.txt'}\n")
        old, new = [(ROOT / name).stat().st_mtime + seconds for seconds in (-1, 1e6)]
        for when, installs in ((old, True), (new, False)):
            os.utime(tmp_path / "installed", (when, when))
            done = subprocess.run(
                ["make", "-n", target, f"VENV={tmp_path}", *given],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            assert ("pip install" in done.stdout) == installs, (name, when)
    # The others are installed
    (tmp_path / "installed").write_text(f"{ROOT}|{'tests/constraints.txt' if given else ''}\n")
    done = subprocess.run(
        ["make", "-n", target, f"VENV={tmp_path}", *given], cwd=ROOT, capture_output=True, text=True
    )
    assert "pip install" in done.stdout
    (tmp_path / "installed").unlink()


def test_environment_file_names_no_dependency_of_its_own():
    names = [d for d in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert names == [f"python{project['requires-python']}", "pip", {"pip": ["-e ."]}]


def test_every_package_is_installed_with_the_project():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = sorted(
        str(p.parent.relative_to(ROOT)).replace("/", ".")
        for p in (ROOT / "ganlib").rglob("__init__.py")
    )
    assert sorted(settings["tool"]["setuptools"]["packages"]) == sorted(
        found + ["ganlib.notebooks", "ganlib.settings"]
    )


BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
PLAN = """import json
from ganlib.report import settings
from ganlib.system import files, surroundings
known = sorted(path.stem for path in files.SETTINGS.glob("*.yaml"))
planned = []
for name in known:
    plan = settings.plan(settings.find_settings(name), {})
    planned.append([entry["notebook"].stem for entry in plan])
kernel = surroundings.JUPYTER / "kernels/python3/kernel.json"
speeds = len(list(files.SETTINGS.glob("speed/*.json")))
print(json.dumps([files.__file__, str(files.ROOT), known, planned, kernel.is_file(), speeds]))"""


@pytest.mark.slow
def test_wheel_has_notebooks_and_settings_and_works_in_an_empty_folder(tmp_path):
    """As `pip install .` makes it, without the index: copied first, since a build leaves files
    in the tree."""
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "ganlib",
        "notebooks",
        *(f"reports/{path.name}" for path in SETTINGS.glob("*.yaml")),
        "reports/speed",
    ):
        (tmp_path / "tree/reports").mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / "tree" / name)
    subprocess.run(
        [sys.executable, "-c", BUILD, tmp_path],
        cwd=tmp_path / "tree",
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "empty").mkdir()
    env = {name: value for name, value in os.environ.items() if name != "GANLIB_HOME"} | {
        "PYTHONPATH": str(tmp_path / "installed")
    }
    done = subprocess.run(
        [sys.executable, "-c", PLAN],
        cwd=tmp_path / "empty",
        env=env,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    module, root, known, planned, kernel, speeds = json.loads(done.stdout)
    assert module.startswith(str(tmp_path / "installed")) and root == str(tmp_path / "empty")
    assert known == sorted(path.stem for path in SETTINGS.glob("*.yaml")) and all(planned)
    # The template is no part of a report, nor is 06, which is for trying out
    assert {name for names in planned for name in names} == {
        path.stem for path in NOTEBOOKS.glob("0[1-5]*.ipynb")
    }
    assert kernel and speeds == len(list(SETTINGS.glob("speed/*.json")))
    assert not list((tmp_path / "empty").iterdir())


def fake_python(folder, script):
    (folder / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "python3").chmod(0o755)
    return folder / "python3"


@pytest.mark.parametrize(
    "script, message",
    [
        (
            'case "$*" in *version_info*) exit 1;; *) echo "Python 3.9.2";; esac',
            "ganlib needs Python 3.11 or newer, and found none",
        ),
        (
            'case "$*" in *ensurepip*) exit 1;; *version_info*) exit 0;; *) echo "Python '
            '3.12.1";; esac',
            "ganlib needs Python's venv module",
        ),
    ],
)
@pytest.mark.parametrize("target", ["report", "test", "constraints", "oldest"])
def test_python_that_cannot_be_used_is_told_in_one_line(tmp_path, script, message, target):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/constraints.txt").write_text("")
    done = subprocess.run(
        ["make", "-C", tmp_path, target, f"PYTHON={fake_python(tmp_path, script)}"],
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert done.returncode and len(lines) == 1 and message in lines[0]
    assert not (tmp_path / ".venv").exists()


@pytest.mark.slow
def test_importing_ganlib_prints_and_creates_nothing(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import ganlib, ganlib.data.domains, ganlib.train, ganlib.show.plots, "
            "ganlib.report.runner",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"MPLCONFIGDIR": str(tmp_path / "mpl")},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {p.name for p in tmp_path.iterdir()} <= {"mpl"}
