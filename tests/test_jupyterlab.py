"""Notebooks in JupyterLab as a person has them: opened in a browser of 1280 pixels, run from top to
bottom, stopped, closed and opened again.

`make lab-test` does so with all notebooks as they are; the tests, with small values, with some."""

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import nbformat
import pytest
import torch
from conftest import CACHE, with_quick_probe
from PIL import Image

from ganlib.data.domains import load_domains
from ganlib.runs.kept import find_models
from ganlib.system.files import NOTEBOOKS

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed (apt install chromium)"),
]

FACES = dict(image_size=32, builtin_a=24, builtin_b=24, builtin_eval=8)
TINY = FACES | dict(ngf=4, ndf=4, batch_size=2)
SMALL = {
    "template": {},
    "01_data_analysis": FACES,
    "02_cyclegan": TINY | dict(steps=24, epoch_steps=8),
}
ALL = {path.stem: {} for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
TOLD = ALL if os.environ.get("GANLIB_LAB_ALL") else SMALL
TRAINS = "run = fit(cfg"  # in the cell that trains

# What JupyterLab itself writes to the console as an error, each with the reason.
NOISE = ()

STATE = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget;  // not at once
    const kernel = panel?.sessionContext?.session?.kernel;
    const cells = (panel?.content?.widgets || []).filter(cell => cell.model.type === "code");
    return {
        kernel: kernel?.id, status: kernel?.status, counts: cells.map(x => x.model.executionCount),
        outputs: cells.map(cell => cell.model.outputs.toJSON()),
    };
}"""
# From now on keep each picture that comes into a page, with the number of the code cell it is in.
NOTE_PICTURES = """() => {
    window.pictures = [];
    const note = () => {
        const panel = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden)");
        [...panel.querySelectorAll(".jp-CodeCell")].forEach((cell, i) => {
            for (const image of cell.querySelectorAll(".jp-OutputArea img")) {
                const seen = [i, image.src.length, image.src.slice(-2000)].join(" ");
                if (!window.pictures.includes(seen)) window.pictures.push(seen);
            }
        });
    };
    const changes = {subtree: true, childList: true, attributes: true, attributeFilter: ["src"]};
    new MutationObserver(note).observe(document.body, changes);
}"""
# What is wider than its place, and which pictures cannot be seen, in words.
LOOK = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    const wrong = [];
    const tell = (what, node) => {
        if (node.scrollWidth > node.clientWidth + 1)
            wrong.push(`${what}: ${node.scrollWidth} pixels wide in ${node.clientWidth}`);
    };
    const PLACES = ".jp-OutputArea-output, .jp-RenderedHTMLCommon, .jp-RenderedText, .cm-scroller";
    let pictures = 0;
    for (let i = 0; i < panel.content.widgets.length; i++) {
        await panel.content.scrollToItem(i, "center");
        await new Promise(done => setTimeout(done, 30));
        const cell = panel.content.widgets[i].node;
        for (const node of cell.querySelectorAll(PLACES))
            tell(`cell ${i}, ${node.className.split(" ").pop()}`, node);
        for (const image of cell.querySelectorAll("img")) {
            pictures += 1;
            await image.decode().catch(() => {});
            if (!image.naturalWidth || !image.getBoundingClientRect().width)
                wrong.push(`cell ${i}: a picture that is not seen`);
        }
    }
    tell("the page", document.documentElement);
    tell("the notebook", panel.content.node);
    for (const node of panel.node.querySelectorAll(".jp-WindowedPanel-outer")) tell("cells", node);
    return {wrong, pictures};
}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """GANLIB_HOME of the JupyterLab, with a quick probe of the small faces."""
    home = tmp_path_factory.mktemp("home")
    (home / "cache").symlink_to(CACHE)
    sizes = {name: value for name, value in FACES.items() if name != "image_size"}
    with_quick_probe(load_domains("builtin", FACES["image_size"], **sizes))
    return home


@pytest.fixture(scope="module")
def lab(home):
    """A JupyterLab: a function from the name of a notebook to its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ganlib.lab", "--no-browser", f"--port={port}"]
    command += ["--LabApp.expose_app_in_browser=True"]  # window.jupyterapp
    # Tabs and settings are those of nobody.
    own = {"GANLIB_HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config")}
    said = home / "said.txt"
    with open(said, "w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | own)
    try:
        until(lambda: "/lab?token=" in said.read_text(), said.read_text)
        address, token = re.search(r"(http://\S+/lab)\?token=(\w+)", said.read_text()).groups()
        number = itertools.count()  # a workspace each, without the tabs of others
        yield lambda name: f"{address}/workspaces/{next(number)}/tree/{name}.ipynb?token={token}"
    finally:
        process.terminate()  # which ends its kernels
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # it waits for a kernel that was just being ended
            process.kill()  # which the kernels notice
            process.wait()


@pytest.fixture(scope="module")
def chromium():
    """A browser."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        except Error as error:  # such as Ubuntu's, which only says where to get one
            pytest.skip(f"{CHROMIUM} does not start: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, lab):
    """A function that opens a notebook in a tab of its own, 1280 pixels wide. In the end no
    console may have had an error."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    errors = []

    def hear(message):
        if message.type == "error" and not re.search("|".join(NOISE) or "^$", message.text):
            errors.append(f"{message.text} ({message.location.get('url')})")

    def open_notebook(name):
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(lab(name))
        until(lambda: state(page).status == "idle" or state(page).kernel and state(page).counts)
        page.evaluate(NOTE_PICTURES)
        return page

    yield open_notebook
    found = errors.copy()
    context.pages[0].evaluate("window.jupyterapp.serviceManager.sessions.shutdownAll()")
    context.close()
    assert found == []


def until(true, told=str, seconds=300):
    """Wait for a function to be true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited in vain: {told()}"
        time.sleep(0.2)


def state(page):
    """What is known of the notebook in a tab: kernel, status, and the counts and outputs of its
    code cells."""
    return SimpleNamespace(**page.evaluate(STATE))


def errors_of(page):
    """The tracebacks in a notebook."""
    outputs = [output for cell in state(page).outputs for output in cell]
    return ["\n".join(x["traceback"]) for x in outputs if x["output_type"] == "error"]


def texts_of(page):
    """What each code cell of a notebook has printed."""
    cells = []
    for outputs in state(page).outputs:
        printed = [x["text"] for x in outputs if x["output_type"] == "stream"]
        cells.append("".join("".join(text) for text in printed))
    return cells


def choose(page, menu, entry):
    """Choose an entry of JupyterLab's menus."""
    page.locator(f'.lm-MenuBar-itemLabel:text-is("{menu}")').click()
    page.locator(f'.lm-Menu-itemLabel:text-is("{entry}")').click()


def stop(page):
    """The stop button of the notebook."""
    page.locator('.jp-Toolbar-item[data-jp-item-name="interrupt"]:visible').click()


def pictures(page, cell):
    """How many pictures a code cell has shown up to now, one in the place of another."""
    seen = page.evaluate("() => window.pictures")
    return sum(text.split()[0] == str(cell) for text in seen)


def is_done(page):
    """Whether all cells have run, or one has failed."""
    now = state(page)
    return now.status == "idle" and (None not in now.counts or bool(errors_of(page)))


def write(home, name, values):
    """Set parameters in the copy of a notebook, and take away what its cells gave; returns the
    number of the code cell that trains, if there is one."""
    path = home / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    for parameter, value in values.items():
        line = re.compile(rf"(?m)^{parameter} = .*$")
        assert line.search(code[0].source), parameter
        code[0].source = line.sub(f"{parameter} = {value!r}", code[0].source)
    nbformat.write(notebook, path)
    return next((i for i, cell in enumerate(code) if TRAINS in cell.source), None)


def write_new(home, name, code):
    """Write a notebook of one cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    (home / f"notebooks/{name}.ipynb").write_text(json.dumps(notebook))


@pytest.mark.parametrize("name", TOLD)
def test_notebook_runs_from_top_to_bottom_and_all_of_it_can_be_seen(name, opened, home):
    trains = write(home, name, TOLD[name])
    page = opened(name)
    choose(page, "Run", "Run All Cells")
    until(lambda: is_done(page), lambda: texts_of(page), seconds=1800)
    assert errors_of(page) == []
    assert state(page).counts == list(range(1, len(state(page).counts) + 1))
    if trains is not None:
        assert pictures(page, trains) >= 3, "the picture of the training does not move"
    seen = page.evaluate(LOOK)
    assert seen["pictures"] > 0 and seen["wrong"] == []


def test_training_is_stopped_goes_on_in_a_closed_tab_and_is_watched_from_another(opened, home):
    trains = write(home, "02_cyclegan", TINY | dict(steps=20_000, epoch_steps=50))
    page = opened("02_cyclegan")
    choose(page, "Run", "Run All Cells")
    until(lambda: pictures(page, trains) >= 3, lambda: texts_of(page))
    stop(page)
    until(lambda: is_done(page), lambda: texts_of(page))
    (error,) = errors_of(page)
    assert re.fullmatch("KeyboardInterrupt: .*stopped.*", error)
    assert "stopped after step" in texts_of(page)[trains]

    page.locator(".jp-CodeCell").nth(trains).locator(".jp-InputPrompt").click()
    choose(page, "Run", "Run Selected Cell and All Below")
    until(lambda: "going on from step" in texts_of(page)[trains], lambda: texts_of(page))
    until(lambda: pictures(page, trains) >= 6, lambda: texts_of(page))
    kernel = state(page).kernel
    page.close()
    page = opened("02_cyclegan")
    assert state(page).kernel == kernel
    assert state(page).status in ("busy", "unknown")  # it answers when the training is over

    (folder,) = [path.parent for path in home.glob("runs/*/.lock")]
    write_new(
        home, "watch", f"from ganlib.runs.watch import watch\nwatch({str(folder)!r}, seconds=1)"
    )
    watching = opened("watch")
    choose(watching, "Run", "Run All Cells")
    until(lambda: pictures(watching, 0) >= 3, lambda: texts_of(watching))
    assert watching.evaluate(LOOK) == {"wrong": [], "pictures": 1}
    stop(page)
    until(lambda: is_done(watching), lambda: texts_of(watching))
    assert " can go on at step " in texts_of(watching)[0] and errors_of(watching) == []


def test_own_picture_of_more_than_10_mib_is_taken_and_translated(opened, home, tmp_path):
    """JupyterLab's own limit is 10 MiB, and it says nothing where a picture is beyond it."""
    noise = torch.randint(256, (2048, 2048, 3), generator=torch.Generator().manual_seed(0))
    picture = tmp_path / "large.png"
    Image.fromarray(noise.byte().numpy()).save(picture, compress_level=0)
    assert picture.stat().st_size > 12 * 2**20
    model = find_models((64, 64))[0]
    write_new(
        home,
        "upload",
        "import ganlib\nfrom ganlib.show.slider import ask_pictures\n"
        f"ask_pictures(ganlib.load({str(model)!r}), 'B')",
    )
    page = opened("upload")
    choose(page, "Run", "Run All Cells")
    button = page.locator(".jupyter-widgets.widget-upload")
    button.wait_for(timeout=120_000)
    assert button.bounding_box()["width"] < 300, "as wide as the page"
    with page.expect_file_chooser() as asked:
        button.click()
    asked.value.set_files(picture)
    page.locator("img.widget-image").wait_for(timeout=120_000)
