"""The core stays apart from what serves it: read from the import lines, those within functions
too."""

import ast

import pytest

from ganlib.system.files import PACKAGE

ROOMS = (
    "data",
    "faces",
    "doctor",
    "evaluate",
    "compare",
    "runs",
    "parallel",
    "bench",
    "report",
    "lab",
    "show",
    "system",
    "use",
)
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
LOOP = ("loop", "train", "__main__")  # they bring the core and what serves it together


def imports(path):
    """The modules of ganlib that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "ganlib":
            found |= {alias.name if alias.name in FILES else "__init__" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ganlib."):
            module = node.module.removeprefix("ganlib.")
            inner = {f"{module}.{alias.name}" for alias in node.names} & set(FILES)
            found |= inner or {module}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("ganlib.")
                for alias in node.names
                if alias.name.startswith("ganlib.")
            }
    return found


GRAPH = {name: imports(path) for name, path in FILES.items()}


def reach(name):
    """All that a module imports, and what these import."""
    seen, todo = set(), [name]
    while todo:
        for other in GRAPH.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def test_every_module_is_known():
    assert {"config", "loop", "step", "fast_step", "models.build", "runs.checkpoint"} <= set(FILES)
    assert all(
        other in FILES or other == "__init__" for others in GRAPH.values() for other in others
    )


def test_no_module_imports_itself_by_way_of_others():
    assert [name for name in FILES if name in reach(name)] == []


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.split(".")[0] not in (*ROOMS, *LOOP, "__init__")]
)
def test_core_imports_no_data_no_scores_and_no_report(name):
    """Of what serves it only the numbers of the processes that train together, and the stop that
    waits."""
    served = {other for other in reach(name) if other.split(".")[0] in ROOMS}
    assert served <= {"parallel.ranks", "parallel.ddp", "runs.signals"}


def test_loop_imports_only_what_a_training_needs():
    rooms = {other.split(".")[0] for other in GRAPH["loop"]} & set(ROOMS)
    assert rooms <= {"data", "evaluate", "runs", "parallel", "show", "system"}


def test_pool_reads_no_yaml():
    assert "system.values" not in reach("pool") and "runs.job" not in reach("pool")


def test_checkpoint_is_read_without_a_judge():
    assert not {
        name
        for name in reach("runs.checkpoint")
        if name.split(".")[0] in ("evaluate", "data", "report", "compare")
    }
