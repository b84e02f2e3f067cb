"""The parameters of the notebooks: each is taken as what it stands for, or refused in one line
before anything else runs."""

import ast
from functools import lru_cache
from pathlib import Path

import nbformat
import numpy as np
import pytest

from ganlib import InputError
from ganlib.config import Execution
from ganlib.lab.parameters import PARAMETERS, check_parameters
from ganlib.parallel import launch as parallel_launch
from ganlib.report.settings import default_parameters, find_settings, plan
from ganlib.runs.job import read_job
from ganlib.system.files import NOTEBOOKS
from ganlib.system.values import parse_yaml, read_yaml

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
DEFAULTS = {name: default_parameters(NOTEBOOKS / f"{name}.ipynb") for name in NAMES}
EACH = [(notebook, name) for notebook in NAMES for name in DEFAULTS[notebook]]
ODD = [
    None,
    1.5,
    2.5j,
    {"a": 1},
    [],
    [[1]],
    ["x", 1],
    b"16",
    "",
    "two words",
    float("nan"),
    float("inf"),
    -1,
    2**31,
    10**30,
    True,
    np.int64(16),
    "None",
    "[1",
    "!!int ''",
    "1:30",
    "16 px",
    "0x10",
    len,
]


@lru_cache
def cells(notebook):
    return [
        cell.source
        for cell in nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", 4).cells
        if cell.cell_type == "code"
    ]


def set_up(notebook, **given):
    """The parameters of a notebook after its first cell, `given`, and of its second cell all up
    to the first statement that is no import and not its begin()."""
    space = {}
    exec(cells(notebook)[0], space)
    space |= given
    body = ast.parse(cells(notebook)[1]).body
    imports = ast.Import, ast.ImportFrom
    first = next(
        i
        for i, line in enumerate(body)
        if not isinstance(line, imports) and ast.unparse(line) != "begin()"
    )
    needed = [
        line for line in body[:first] if getattr(line, "module", "") == "ganlib.lab.parameters"
    ]
    exec(compile(ast.Module([*needed, body[first]], []), notebook, "exec"), space)
    return {name: space[name] for name in DEFAULTS[notebook]}


def is_of_kind(value, like):
    """Whether a value is of the kind of an example; a whole number stands for a float too."""
    if isinstance(like, list):
        return (
            isinstance(value, list)
            and len(value) > 0
            and all(is_of_kind(item, like[0]) for item in value)
        )
    return type(value) is type(like) or (type(like) is float and type(value) is int)


@pytest.mark.parametrize("notebook", NAMES)
def test_every_parameter_is_checked_first_of_all(notebook):
    assert set_up(notebook) == DEFAULTS[notebook]
    number = next(name for name in ("image_size", "seed") if name in DEFAULTS[notebook])
    assert set_up(notebook, **{number: "48"})[number] == 48
    for name, default in DEFAULTS[notebook].items():
        assert is_of_kind(default, PARAMETERS[name]), name


@pytest.mark.parametrize("notebook, name", EACH)
def test_no_parameter_takes_another_kind_than_its_defaults(notebook, name):
    like, taken = PARAMETERS[name], 0
    for odd in ODD:
        try:
            value = set_up(notebook, **{name: odd})[name]
        except InputError as error:
            text = str(error)
            assert (
                text.startswith((name, "accumulate"))
                and ("expected" in text or "there are" in text)
                and text.isprintable()
                and len(text) < 400
            ), (odd, text)
        else:
            taken += 1
            assert is_of_kind(value, like) or name == "image_size" and is_of_kind(value, [1]), (
                odd,
                value,
            )
    assert taken < len(ODD) / 2


@pytest.mark.parametrize("notebook", NAMES)
def test_no_cell_gives_a_parameters_name_to_something_else(notebook):
    """The check would be of that, when the cells are run once more."""
    for cell in cells(notebook)[1:]:
        for node in ast.parse(cell).body:
            stored = {
                part.id
                for part in ast.walk(node)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
            inner = {
                part.id
                for scope in ast.walk(node)
                if isinstance(scope, (ast.comprehension, ast.FunctionDef))
                for part in ast.walk(scope)
                if isinstance(part, ast.Name)
            }
            assert not (stored - inner) & set(PARAMETERS), cell


@pytest.mark.parametrize(
    "name, given, value",
    [
        *[
            ("resume", text, False)
            for text in ("false", "False", "no", "No", "off", " FALSE\n", False)
        ],
        *[("resume", text, True) for text in ("true", "True", "yes", "ON", True)],
        ("seeds", "[0, 1]", [0, 1]),
        ("seeds", "[3]", [3]),
        ("seeds", (0, 4), [0, 4]),
        ("seeds", ["0", "1"], [0, 1]),
        ("seeds", "- 5\n- 6", [5, 6]),
        ("image_size", "[32, 48]", [32, 48]),
        ("image_size", "48", 48),
        ("image_size", (32, 48), [32, 48]),
        ("image_size", ["32", 48], [32, 48]),
        ("steps", "60", 60),
        ("steps", "1e4", 10_000),
        ("steps", 1e4, 10_000),
        ("steps", "1_000", 1000),
        ("steps", "010", 10),
        ("lr", "5e-4", 5e-4),
        ("lr", "1", 1.0),
        ("lr", 1, 1),
        ("lr", ".5e-3", 5e-4),
        ("data", 2026, "2026"),
        ("domain_a", 7, "7"),
        ("runs", 2026, "2026"),
        ("runs", Path("a/b"), "a/b"),
        ("domain_a", "no", "no"),
        ("domain_a", "007", "007"),
        ("value_range", "[0, 4095]", [0, 4095]),
        ("value_range", (-1, 1.5), [-1, 1.5]),
        ("value_range", "{a: [0, 1e3]}", {"a": [0, 1000]}),
        ("value_range", "auto", ""),
        ("models", "[{arch: uvcgan, ngf: 4}]", [{"arch": "uvcgan", "ngf": 4}]),
        ("settings", "{lambda_idt: 0.1, n_blocks: 9}", {"lambda_idt": 0.1, "n_blocks": 9}),
        ("settings", "{}", {}),
        ("settings", {"pool_size": "10", "lr_g": "5e-4"}, {"pool_size": 10, "lr_g": 5e-4}),
        (
            "models",
            [{"ngf": "4", "lr_g": "5e-4", "scale_lr": "no"}],
            [{"ngf": 4, "lr_g": 5e-4, "scale_lr": False}],
        ),
    ],
)
def test_texts_are_taken_as_what_they_stand_for(name, given, value):
    taken = check_parameters({name: given})[name]
    assert taken == value and type(taken) is type(value)


@pytest.mark.parametrize(
    "given, message",
    [
        (
            {"value_range": "[4095, 0]"},
            'value_range [4095, 0]: expected "" (found from the files), ',
        ),
        ({"value_range": "0 1"}, "value_range '0 1': expected"),
        ({"value_range": "[0"}, "value_range '[0': expected"),
        ({"processes": 0}, "processes 0: expected 1 or more"),
        ({"processes": -1}, "processes -1: expected 1 or more"),
        ({"processes": "two"}, "processes 'two': expected a whole number, for instance 1"),
        ({"processes": True}, "processes True: expected a whole number"),
        (
            {"processes": 3, "accumulate": 1, "batch_size": 4},
            "accumulate 1 and 3 processes: expected whole numbers that together divide the batch "
            "of 4",
        ),
        ({"processes": 1, "accumulate": 3, "batch_size": 4}, "accumulate 3: expected"),
        ({"accumulate": 0}, "accumulate 0: expected 1 or more"),
        (
            {"inception": True},
            "inception True: expected a text; put it in quotes, or give it to papermill by -r "
            "instead of -p",
        ),
        ({"inception": None}, "inception None: expected a text"),
        ({"runs": 20.26}, "runs 20.26: expected a text"),
        ({"data": ""}, "data '': expected \"builtin\""),
        ({"resume": "never"}, "resume 'never': expected True or False"),
        ({"resume": 0}, "resume 0: expected True or False"),
        ({"resume": ""}, "resume ''"),
        ({"seeds": 0}, "seeds 0: expected a list, for instance [0, 1, 2]"),
        ({"seeds": []}, "seeds []: expected a list"),
        ({"seeds": "0, 1"}, "seeds '0, 1': expected a list"),
        ({"seeds": "[0, 1"}, "seeds '[0, 1': expected a list"),
        ({"seeds": [0, 1, 0]}, "seeds [0, 1, 0]: 0 is in it twice; expected different ones"),
        ({"seeds": [0, "one"]}, "seeds 'one': expected a whole number"),
        ({"seeds": [-1]}, "seeds [-1]: -1 and seed 0 together: seed -1: expected 0 or more"),
        ({"seeds": [1], "seed": 2**31 - 1}, "seeds [1]: 1 and seed"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
        ({"steps": 0}, "steps 0: expected 1 or more"),
        ({"steps": 2.5}, "steps 2.5: expected a whole number"),
        ({"batch_size": "4.5"}, "batch_size 4.5: expected a whole number"),
        ({"epoch_steps": -1}, "epoch_steps -1: expected 0 or more"),
        ({"ngf": 2**31}, "ngf 2147483648: expected a number below"),
        ({"builtin_eval": 0}, "builtin_eval 0: expected 1 or more"),
        ({"timed_steps": 0}, "timed_steps 0: expected 1 or more"),
        ({"lr": -0.1}, "lr -0.1: expected 0 or more"),
        ({"lr": "fast"}, "lr 'fast': expected a number"),
        ({"lr": "nan"}, "lr nan: expected 0 or more"),
        ({"lr": float("inf")}, "lr inf: expected 0 or more"),
        (
            {"image_size": [32, 48, 3]},
            "image_size (32, 48, 3): expected one whole number of pixels, or height and width",
        ),
        ({"image_size": [0, 32]}, "image_size (0, 32): expected one whole number"),
        ({"image_size": -64}, "image_size (-64, -64): expected"),
        (
            {"image_size": "32x48"},
            "image_size '32x48': expected one whole number of pixels, or height and width, for "
            "instance [48, 64]",
        ),
        ({"recipe": "sed"}, "recipe 'sed': no such recipe; there are default, cyclegan, seed"),
        ({"precision": "half"}, "precision 'half': no such precision; there are"),
        ({"arch": "pix2pix"}, "arch 'pix2pix': no such arch; there are cyclegan, uvcgan"),
        ({"settings": "x"}, "settings 'x': expected names with values"),
        ({"settings": {"lambda_id": 1}}, "lambda_id: no such field of TrainConfig"),
        (
            {"settings": {"steps": 9}, "steps": 3},
            "settings: steps: expected another field of TrainConfig; this notebook has a parameter "
            "of that name",
        ),
        ({"settings": {"arch": "uvcgan"}}, "settings: arch: expected another field"),
        ({"settings": {"pool_size": -1}}, "pool_size -1: expected 0 or more"),
        ({"models": "cyclegan"}, "models 'cyclegan': expected a list, for instance [{'arch'"),
        ({"models": ["cyclegan"]}, "models 'cyclegan': expected names with values"),
        ({"models": {"arch": "cyclegan"}}, "models {'arch': 'cyclegan'}: expected a list"),
        ({"models": [{1: 2}]}, "models {1: 2}: expected names with values"),
        (
            {"models": [{"arch": "gan"}]},
            "models: number 1, {'arch': 'gan'}: arch 'gan': no such arch; there are cyclegan, "
            "uvcgan",
        ),
        (
            {"models": [{}, {"nfg": 8}]},
            "models: number 2, {'nfg': 8}: nfg: no such field of TrainConfig; there are",
        ),
        ({"models": [{"lr_g": "fast"}]}, "lr_g 'fast': expected a number"),
        ({"models": [{"seed": 1}]}, "seed: all models have the same; set the parameter seeds"),
        (
            {"models": [{"ngf": 8}, {}, {"ngf": 8}]},
            "models: number 3 is number 1 once more; leave one of them out",
        ),
        ({"models": [{"seeds": 1.5}]}, "models: number 1, {'seeds': 1.5}: seeds 1.5: expected a"),
        ({"models": [{"seeds": [0, 0]}]}, "seeds [0, 0]: 0 is in it twice"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(given, message):
    with pytest.raises(InputError) as told:
        check_parameters(given)
    assert message in str(told.value) and str(told.value).isprintable()


def test_parameter_that_papermill_warns_of_is_refused_by_the_first_cell():
    cells = ["", "seed: int = 0  # of all\nsize = 32", "# Parameters\nseed = 1\n"]
    assert check_parameters({"seed": 1, "In": cells}) == {"seed": 1}
    cells[2] += "sized = 3\n"
    with pytest.raises(InputError) as told:
        check_parameters({"seed": 1, "In": cells})
    assert str(told.value) == "sized: no such parameter of this notebook; there are seed, size"
    assert check_parameters({"seed": 1, "In": ["", cells[1], "mine = 3", cells[2]]}) == {"seed": 1}


def test_model_may_have_seeds_of_its_own():
    models = [{"arch": "uvcgan", "seeds": "[0]"}, {"ngf": "8"}]
    told = check_parameters({"models": models, "seeds": [0, 1]})["models"]
    assert told == [{"arch": "uvcgan", "seeds": [0]}, {"ngf": 8}]


def test_report_checks_the_same_before_it_runs_anything():
    assert (
        plan(find_settings("quick"), {"resume": "no", "builtin_a": "1e3"})[1]["parameters"][
            "resume"
        ]
        is False
    )
    for name, text in [
        ("processes", "0"),
        ("resume", "never"),
        ("accumulate", "3"),
        ("steps", "0"),
        ("seeds", "[1, 1]"),
    ]:
        with pytest.raises(InputError, match=f"^{name} "):
            plan(find_settings("quick"), {name: text})


@pytest.mark.parametrize(
    "text, value",
    [
        ("5e-4", 5e-4),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        (".5e1", 5.0),
        ("-1.5", -1.5),
        ("2.", 2.0),
        ("0.0005", 5e-4),
        ("-.5", -0.5),
        ("60", 60),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", float("inf")),
        ("[5e-4, 1]", [5e-4, 1]),
        *[
            (text, text)
            for text in (
                "yes",
                "no",
                "on",
                "off",
                "y",
                "N",
                "No",
                "1:30",
                "190:20:30",
                "010",
                "0o17",
                "0x1F",
                "1_000",
                "2024-01-01",
                "2001-12-14 21:59:43",
                "007",
                "1.2.3",
                "e5",
                "1e",
                "=",
                "<<",
                "~/faces",
                "+5",
                "tRue",
                "'5e-4'",
                "v1.0",
                "1,5",
            )
        ],
    ],
)
def test_yaml_has_the_kinds_that_a_user_expects(text, value):
    """Of YAML 1.2; what PyYAML makes of them (YAML 1.1): texts of 5e-4 and 1e3, 90 of 1:30, 8 of
    010, False of no, a date."""
    value = value.strip("'") if isinstance(value, str) else value
    found = parse_yaml(f"name: {text}")["name"]
    assert found == value and type(found) is type(value)


def job(tmp_path, text):
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    return read_job(tmp_path / "job.yaml")


def test_config_of_a_training_takes_numbers_and_truths_however_they_are_written(tmp_path):
    read = job(
        tmp_path,
        "train: {lr_g: 5e-4, lr_d: '5e-4', steps: 1e3, batch_size: '8', scale_lr: no, image_size: "
        "'[32, 48]'}\naccumulate: '2'\nresume: no\n"
        "folder: 2026\ndata: {domain_a: no}",
    )
    cfg = read["train"]
    assert (cfg.lr_g, cfg.lr_d, cfg.steps, cfg.batch_size, cfg.scale_lr, cfg.image_size) == (
        5e-4,
        5e-4,
        1000,
        8,
        False,
        (32, 48),
    )
    assert (read["accumulate"], read["resume"], read["folder"]) == (2, False, "2026") and read[
        "data"
    ] == {"domain_a": "no", "image_size": [32, 48]}
    assert job(tmp_path, "data: {image_size: '48'}")["train"].image_size == (48, 48)


@pytest.mark.parametrize(
    "text, message",
    [
        ("resume: never", "resume 'never': expected True or False"),
        ("accumulate: 0", "accumulate 0: expected a whole number, 1 or more"),
        (
            "accumulate: 3",
            "accumulate 3: expected whole numbers that together divide the batch of 4",
        ),
        ("folder: true", "folder True: expected a text"),
        ("train: {steps: 1:30}", "steps '1:30': expected a whole number"),
        ("train: {steps: 5, steps: 50}", "steps is in it twice: expected each name once"),
        ("resume: true\nresume: false", "resume is in it twice"),
        ("train: {lr_g: fast}", "lr_g 'fast': expected a number"),
        ("data: {image_size: 32x48}", "image_size '32x48': expected one whole number of pixels"),
        ("train: {steps: }", "steps None: expected a whole number"),
    ],
)
def test_config_of_a_training_that_cannot_be_used_is_told_in_one_line(tmp_path, text, message):
    with pytest.raises(InputError) as told:
        job(tmp_path, text)
    assert message in str(told.value) and str(told.value).isprintable()


def test_processes_read_what_they_were_given(faces, tiny, tmp_path, monkeypatch):
    read = []

    def look(command, **rest):
        read.append(read_job(command[-1]))
        raise KeyboardInterrupt

    monkeypatch.setattr("ganlib.parallel.child.subprocess.Popen", look)
    given = faces.loaded | {"domain_a": "1e3", "data": "/sets/né 🙂/no", "image_size": [32, 32]}
    cfg = tiny(lr_g=1e-5, lr_d=1, image_size=[32, 32])
    with pytest.raises(KeyboardInterrupt):
        parallel_launch.launch(
            cfg,
            faces._replace(loaded=given),
            tmp_path / "2024-01-01",
            Execution(processes=2, accumulate=2, resume=False, tensorboard=True),
        )
    assert read == [
        {
            "train": cfg,
            "data": given,
            "folder": str(tmp_path / "2024-01-01"),
            "accumulate": 2,
            "resume": False,
            "inception": "",
            "init_from": "",
            "tensorboard": True,
        }
    ]


def test_report_settings_take_a_name_that_looks_like_something_else(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "notebooks: [02_cyclegan]\ncommon: {domain_a: no, data: 2024-01-01, runs: 007, lr: 5e-4, "
        "resume: off}",
        encoding="utf-8",
    )
    assert plan(tmp_path / "mine.yaml", {})[0]["parameters"] == {
        "domain_a": "no",
        "data": "2024-01-01",
        "runs": "007",
        "lr": 5e-4,
        "resume": False,
    }
    assert read_yaml(NOTEBOOKS.parent / "reports/full.yaml")["common"]["steps"] == 20_000


@pytest.mark.parametrize(
    "content", ["no notebook", None, "lr = 2 * 1e-4", "lr = [1, 2", "lr = other"]
)
def test_notebook_whose_parameters_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "mine.ipynb"
    if content and content.startswith("lr"):
        cell = nbformat.v4.new_code_cell(content, metadata={"tags": ["parameters"]})
        nbformat.write(
            nbformat.v4.new_notebook(
                cells=[cell],
                metadata={
                    "kernelspec": {"name": "python3", "display_name": "", "language": "python"}
                },
            ),
            path,
        )
    elif content:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(
        InputError,
        match=(
            "^mine.ipynb: its parameters cannot be read .*; expected a notebook whose cell tagged "
            "`parameters`"
        ),
    ) as told:
        default_parameters(path)
    assert str(told.value).isprintable()
