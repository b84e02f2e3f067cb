"""README and docs/: what they name is there, and the README stays short."""

import re
from importlib import import_module

import pytest

from ganlib.system.commands import COMMANDS
from ganlib.system.files import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# What a reader has only after he has run something.
MADE = ("reports/runs", "reports/index.html", "reports/cache/", "reports/notebooks/")
MADE += ("reports/seeds/", "reports/quick-")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_to_a_file_leads_to_one(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    links = [link for link in links if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_path_that_is_named_is_there(page):
    named = re.findall(r"`((?:ganlib|notebooks|reports|tests|docs)/[^`*<> ]*)`", page.read_text())
    named = [path for path in named if not path.startswith(MADE) and "NAME" not in path]
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_is_named_is_one(page):
    text = page.read_text()
    targets = set(re.findall(r"(?m)(?:^|`|: )make ([a-z-]+)", text))
    makefile = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"(?m)^([a-z-]+):", makefile))
    assert targets <= known
    calls = "\n".join(re.findall(r"```.*?```|`[^`\n]*`", text, re.DOTALL)).replace("`", "")
    assert set(re.findall(r"(?m)^ganlib ([a-z]+)", calls)) <= set(COMMANDS)
    for name in set(re.findall(r"python -m ganlib\.([a-z_.]*[a-z])", text)):
        name = name.replace(".", "/")
        places = (f"ganlib/{name}.py", f"ganlib/{name}/__main__.py")
        assert any((ROOT / place).exists() for place in places), name


def test_readme_is_short_and_its_first_command_is_on_the_first_screen():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    assert next(i for i, line in enumerate(lines) if line.startswith("make ")) < 25
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_a_snippet_imports_is_there(page):
    for module, names in re.findall(r"(?m)^from (ganlib[\w.]*) import (.+)$", page.read_text()):
        assert [n for n in names.split(", ") if not hasattr(import_module(module), n)] == []
