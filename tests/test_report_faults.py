"""The report when something goes wrong: what is run again, interrupts, killed processes, full
disks, and names that are HTML."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from PIL import Image
from test_report import started_on_bench, wait_for

from ganlib.data import sources as data_sources
from ganlib.report import beforehand
from ganlib.report import page as report_page
from ganlib.report import runner as report_runner
from ganlib.report.__main__ import main
from ganlib.report.page import render
from ganlib.show import progress as show_progress
from ganlib.system import files as system_files

EVIL = "<img src=x onerror=alert(1)>"
FOUL = "'\"><img src=x onerror=document.title='fired'>.png"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def write_notebook(folder, name, *cells):
    """A notebook with the parameters data, steps and folder, and cells of code."""
    parameters = nbformat.v4.new_code_cell(
        'data = "builtin"\nsteps = 100\nfolder = ""', metadata={"tags": ["parameters"]}
    )
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f"# Page {name}"),
            parameters,
            *map(nbformat.v4.new_code_cell, cells),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    nbformat.write(notebook, folder / f"{name}.ipynb")


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Notebooks one, two and three in a folder, a package of one file, and the arguments of main
    for them."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/code.py").write_text("pass")
    for name in ("one", "two", "three"):
        write_notebook(tmp_path, name, "print(steps)")
    monkeypatch.setattr("ganlib.report.settings.NOTEBOOKS", tmp_path)
    monkeypatch.setattr("ganlib.report.stale.PACKAGE", tmp_path / "package")

    def settings(*notebooks, **common):
        content = {"notebooks": list(notebooks or ("one", "two", "three")), "common": common}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
        return [str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]

    return settings


@pytest.fixture
def quick(monkeypatch):
    """In place of papermill and its kernel a function that writes an output, and calls what a
    test puts into the dict returned."""
    calls, hooks = [], {}

    def execute(source, target, parameters, **more):
        name = Path(source).stem
        calls.append(name)
        notebook = nbformat.read(source, 4)
        notebook.cells[-1].outputs = [
            nbformat.v4.new_output("stream", text=f"output {len(calls)} of {name}")
        ]
        nbformat.write(notebook, target)
        hooks.get(name, lambda: None)()

    monkeypatch.setattr(report_runner.papermill, "execute_notebook", execute)
    monkeypatch.setattr(beforehand, "check_beforehand", lambda entries: None)  # data of no images
    hooks["calls"] = calls
    return hooks


def reasons(arguments, capsys, status=0):
    """What --resume says of each notebook."""
    capsys.readouterr()
    assert main([*arguments, "--resume"]) == status
    return re.findall(
        r"^\[\d/\d\] \w+  (kept.*|running(?: again)?: .*)$", capsys.readouterr().out, re.M
    )


KEPT = "kept: nothing changed"


def test_resume_runs_what_changed_and_what_comes_after_it_and_says_why(
    bench, quick, tmp_path, capsys
):
    assert reasons(bench(), capsys) == ["running: missing"] * 3
    assert reasons(bench(), capsys) == [KEPT] * 3 and len(quick["calls"]) == 3
    assert reasons(
        bench("one", {"notebook": "two", "parameters": {"steps": 200}}, "three"), capsys
    ) == [KEPT, "running again: parameters changed (steps 100 -> 200)", "running again: after two"]
    page = (tmp_path / "out/report.html").read_text()
    assert "output 1 of one" in page and "output 4 of two" in page and "output 5 of three" in page
    bench("one", {"notebook": "two", "parameters": {"steps": 200}}, "three")
    arguments = [str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]
    write_notebook(tmp_path, "three", "print(steps + 1)")
    assert reasons(arguments, capsys) == [KEPT, KEPT, "running again: notebook changed"]
    notebook = nbformat.read(tmp_path / "three.ipynb", 4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="as committed")]
    nbformat.write(notebook, tmp_path / "three.ipynb")
    assert reasons(arguments, capsys) == [KEPT] * 3
    (tmp_path / "package/code.py").write_text("pass  ")
    assert reasons(arguments, capsys) == ["running again: package changed"] * 3
    (tmp_path / "out/two.ipynb").unlink()
    assert reasons(arguments, capsys) == [KEPT, "running: missing", "running again: after two"]
    (tmp_path / "out/three.ipynb").write_text("{}")
    assert reasons(arguments, capsys) == [KEPT, KEPT, "running again: three.ipynb was changed"]
    before = len(quick["calls"])
    # Without --resume everything
    assert main(arguments) == 0 and len(quick["calls"]) == before + 3


def test_resume_runs_again_what_failed_and_what_lost_its_run(bench, quick, tmp_path, capsys):
    def fail():
        raise KeyError("broken")

    def train():
        (tmp_path / "a-run").mkdir(exist_ok=True)
        with open(os.environ[show_progress.FEED], "a") as feed:
            print(json.dumps({"folder": str(tmp_path / "a-run"), "step": 1, "steps": 1}), file=feed)
        # That one is damaged is no reason to render nothing
        (tmp_path / "a-run/metrics.json").write_text("{")

    quick |= {"two": fail, "one": train}
    arguments = bench("one", "two")
    assert main(arguments) == 1
    del quick["two"]
    assert reasons(arguments, capsys) == [KEPT, "running again: it failed before"]
    assert reasons(arguments, capsys) == [KEPT, KEPT]
    shutil.rmtree(tmp_path / "a-run")
    assert reasons(arguments, capsys) == [
        "running again: its run a-run is gone",
        "running again: after one",
    ]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_resume_notices_changed_data_but_not_the_manifest_that_a_notebook_writes(
    bench, quick, tmp_path, capsys, kind
):
    data = tmp_path / "faces"
    for domain in "ab":
        (data / domain).mkdir(parents=True)
        (data / domain / "1.png").write_bytes(domain.encode())
    pack = lambda: kind == "zip" and shutil.make_archive(data, "zip", data)  # noqa: E731
    pack()
    path = data if kind == "folder" else data.with_suffix(".zip")
    manifest = (
        path / data_sources.MANIFEST
        if kind == "folder"
        else Path(f"{path}.{data_sources.MANIFEST}")
    )
    quick["one"] = lambda: manifest.write_text("split")
    arguments = bench("one", "two", data=str(path))
    assert main(arguments) == 0
    assert reasons(arguments, capsys) == [KEPT, KEPT]
    facts = os.stat(data / "a/1.png")
    (data / "a/1.png").write_bytes(b"c")  # of the same size
    os.utime(data / "a/1.png", ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    pack()
    assert reasons(arguments, capsys) == ["running again: data changed"] * 2
    manifest.write_text("another split")
    assert reasons(arguments, capsys)[0] == "running again: data changed"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\x00", b"[1]", b'{"one": 3}', b'{"one": {"notebook": 3}}']
)
def test_damaged_record_is_told_and_everything_runs(bench, quick, tmp_path, capsys, content):
    assert main(bench("one")) == 0
    (tmp_path / "out/steps.json").write_bytes(content)
    assert main([*bench("one"), "--resume"]) == 0
    said = capsys.readouterr()
    assert (
        "[1/1] one  running: missing" in said.out
        and said.err
        == f"{tmp_path}/out/steps.json: damaged, so nothing is known of an earlier report\n"
    )
    assert reasons(bench("one"), capsys) == [KEPT]


def stop_now():
    """What a SIGTERM does while a notebook runs."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
    time.sleep(60)


def test_interrupt_keeps_what_has_ended_and_a_whole_report(
    bench, quick, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("ganlib.report.runner.PATIENCE", 0.2)
    # And not those of the test itself
    monkeypatch.setattr(report_runner.psutil.Process, "children", lambda self, recursive=False: [])
    out = tmp_path / "out"
    quick["two"] = stop_now
    assert main(bench()) == 143
    page = (out / "report.html").read_text()
    assert (
        report_page.INCOMPLETE in page
        and "This report is incomplete: it was interrupted when 1 of 3 notebooks had ended" in page
    )
    assert (
        "output 1 of one" in page
        and "output 2 of two" in page
        and "This notebook was interrupted while it ran" in page
    )
    assert (
        "This notebook has not been run: interrupted before its turn" in page
        and "Page three</h1>" in page
    )
    assert (
        page.count('<span class="failed">') == 2
        and '<span class="failed">not run' in page
        and '<span class="failed">interrupted' in page
    )
    assert sorted(p.name for p in out.iterdir()) == ["one.ipynb", "report.html", "steps.json"]
    assert capsys.readouterr().err == (
        f"interrupted: 1 of 3 notebooks are in {out}/report.html; --resume runs the rest, "
        "and trainings go on where they were\n"
    )
    del quick["two"]
    assert reasons(bench(), capsys) == [KEPT, "running: missing", "running: missing"]
    whole = (out / "report.html").read_text()
    assert "incomplete" not in whole.split("</style>")[1]
    quick["two"] = stop_now
    assert main(bench()) == 143 and (out / "report.html").read_text() == whole
    assert "output 5 of one" in (out / "report-incomplete.html").read_text()
    assert "report-incomplete.html, report.html is left as it was" in capsys.readouterr().err
    del quick["two"]
    # One has run since they did
    assert reasons(bench(), capsys) == [
        KEPT,
        "running again: after one",
        "running again: after one, two",
    ]
    assert not (out / "report-incomplete.html").exists()


def in_background(folder, arguments):
    return subprocess.Popen(
        started_on_bench(folder, arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def gone(file):
    """Whether the process whose id is in the file has ended, or is a zombie that its parent has
    yet to notice."""
    stat = Path(f"/proc/{file.read_text()}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


SLEEP = (
    "import os, subprocess, sys, time\nprint('shown before')",
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], "
    "start_new_session=True, stdout=-3, stderr=-3)\n"
    "print('in the middle', flush=True)\nfor name, pid in ('child', child.pid), ('pid', "
    "os.getpid()):\n"
    "    open(f'{folder}/{name}.part', 'w').write(str(pid)); os.rename(f'{folder}/{name}.part', "
    "f'{folder}/{name}')\n"
    "time.sleep(300)",
)


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_of_a_kernel_reports_what_it_showed_and_leaves_no_process(
    bench, tmp_path, number, status
):
    write_notebook(tmp_path, "one", *SLEEP)
    process = in_background(tmp_path, bench("one", "two", folder=str(tmp_path)))
    wait_for((tmp_path / "pid").exists)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    # A kernel may say that it was
    assert process.returncode == status and errors.splitlines()[-1].startswith(
        "interrupted: 0 of 2"
    )
    page = (tmp_path / "out/report.html").read_text()
    assert "shown before" in page and "<pre>in the middle" in page and "has not been run" in page
    assert gone(tmp_path / "pid") and gone(tmp_path / "child")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html"]


@pytest.mark.slow
def test_reader_that_goes_away_stops_a_report_as_an_interrupt_does(bench, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        started_on_bench(tmp_path, [*bench("one", "two"), "--resume"]),
        stdout=writer,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    os.close(writer)
    assert done.returncode == 141 and "has not been run" in (
        tmp_path / "out/report.html"
    ).read_text(encoding="utf-8")
    assert done.stderr == (
        f"interrupted: 0 of 2 notebooks are in {tmp_path}/out/report.html; --resume runs the "
        "rest, and trainings go on where they were\n"
    )


ORPHAN = """
import subprocess, sys, time
from pathlib import Path
import psutil
from ganlib.report.runner import stoppable
start_child = (
    "import os, subprocess, sys, time\\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\\n"
    "open('child.part', 'w').write(str(child.pid)); os.rename('child.part', 'child')\\n"
    "time.sleep(300)"
)
with stoppable():
    parent = subprocess.Popen([sys.executable, "-c", start_child])
    try:
        time.sleep(300)
    except KeyboardInterrupt:
        parent.kill()
        parent.wait()
        Path("orphaned").touch()
        time.sleep(300)
"""


@pytest.mark.slow
def test_second_interrupt_ends_what_has_lost_its_parent_since_the_first(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHAN],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    wait_for((tmp_path / "child").exists)
    process.send_signal(signal.SIGINT)
    wait_for((tmp_path / "orphaned").exists)
    assert not gone(tmp_path / "child")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    wait_for(lambda: gone(tmp_path / "child"))


@pytest.mark.slow
def test_second_interrupt_ends_at_once(bench, tmp_path):
    shown, sleep = SLEEP
    # In the cell that sleeps: a kernel sets its own handler anew before each cell
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + sleep
    write_notebook(tmp_path, "one", shown, deaf)
    process = in_background(tmp_path, bench("one", folder=str(tmp_path)))
    wait_for((tmp_path / "pid").exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it waits for the notebook
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and time.monotonic() - begun < 4  # and not PATIENCE
    assert not list((tmp_path / "out").glob("report*"))
    wait_for(lambda: gone(tmp_path / "pid") and gone(tmp_path / "child"))


@pytest.mark.slow
def test_killed_kernel_fails_its_notebook_alone(bench, tmp_path, capsys):
    write_notebook(
        tmp_path,
        "one",
        "print('shown before')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    )
    assert main(bench("one", "two")) == 1
    page = (tmp_path / "out/report.html").read_text()
    assert (
        "shown before" in page
        and "This notebook failed: DeadKernelError: the notebook&#x27;s process was killed" in page
        and "<pre>100\n" in page
    )
    assert "error: one: DeadKernelError" in capsys.readouterr().err
    assert json.loads((tmp_path / "out/steps.json").read_text())["one"]["error"].startswith(
        "DeadKernelError"
    )


@pytest.mark.slow
def test_killed_report_leaves_no_kernel_and_is_cleaned_up_by_the_next_and_a_living_one_is_named(
    bench, tmp_path, capsys, quick
):
    write_notebook(tmp_path, "one", *SLEEP)
    process = in_background(tmp_path, bench("one", folder=str(tmp_path)))
    try:
        wait_for((tmp_path / "pid").exists)
        assert main(bench("two")) == 2
        assert re.fullmatch(
            rf"error: report {tmp_path}/out: in use by process {process.pid} on .*\n",
            capsys.readouterr().err,
        )
        # The other's work is left alone
        assert list((tmp_path / "out").glob(".running-*/one.ipynb"))
    finally:
        process.kill()
        process.communicate()
    wait_for(lambda: gone(tmp_path / "pid"))
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    (tmp_path / "out/.report.html.99.part").write_text("half")
    assert main(bench("two")) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "report.html",
        "steps.json",
        "two.ipynb",
    ]


@pytest.mark.parametrize("what", ["report.html", "steps.json", "one.ipynb"])
def test_full_disk_is_told_in_one_line_with_the_path(
    bench, quick, tmp_path, capsys, monkeypatch, what
):
    assert main(bench("one")) == 0
    before = {
        name: (tmp_path / "out" / name).read_bytes()
        for name in ("report.html", "steps.json", "one.ipynb")
    }

    def full(*_):
        raise OSError(28, "No space left on device")

    if what == "one.ipynb":
        quick["one"] = full
    real = os.fsync
    monkeypatch.setattr(
        system_files.os,
        "fsync",
        lambda file: (
            full()
            if what in os.readlink(f"/proc/self/fd/{getattr(file, 'fileno', lambda: file)()}")
            else real(file)
        ),
    )
    capsys.readouterr()
    assert main(bench("one")) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith(f"error: {tmp_path}/out/{what}: no space left to write it")
        and error.count("\n") == 1
    )
    assert (tmp_path / "out" / what).read_bytes() == before[what] and not list(
        (tmp_path / "out").glob(".*")
    )


def test_folder_that_is_there_but_cannot_be_written(bench, capsys):
    for folder in ("/proc", "/sys/kernel"):
        assert main([*bench("one")[:1], "--out", folder]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {folder}") and error.count("\n") == 1


@pytest.mark.slow
def test_folder_with_a_name_of_any_kind(bench, tmp_path, capsys):
    out = tmp_path / "my Bücher {steps} 日本 'x'"
    assert main([*bench("one")[:1], "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["one.ipynb", "report.html", "steps.json"]
    assert capsys.readouterr().out.endswith(f"report: {out}/report.html\n")


def test_name_that_leaves_the_folder_is_refused(bench, capsys):
    for name in ("../x", "a/b", ".hidden", ""):
        assert main(bench({"notebook": "one", "name": name})) == 2
        assert f"name {name!r}: expected a name for a file" in capsys.readouterr().err


def test_clock_that_is_set_back_changes_no_duration(bench, quick, tmp_path, monkeypatch, capsys):
    clock = iter(range(10**9, 0, -(10**4)))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    assert main(bench("one")) == 0
    assert (
        0 <= json.loads((tmp_path / "out/steps.json").read_text())["one"]["seconds"] < 5
        and "-" not in capsys.readouterr().out.split("report:")[0]
    )


class Elements(HTMLParser):
    """Collects the elements of a page that could run or load something."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if (
                name.startswith("on")
                or name in ("src", "srcset", "data", "action")
                and not value.startswith("data:")
            ):
                self.found.append((tag, name, value))
        if tag in ("script", "iframe", "object", "embed", "link", "base"):
            self.found.append((tag, "", ""))


def shown_in_browser(page, folder):
    """The page as a browser has it after it ran: its title and its elements, as text of HTML."""
    if not BROWSER:
        pytest.skip("no chromium or google-chrome on the PATH")
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={folder}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "</html>" in done.stdout, done.stderr[-2000:]
    return done.stdout


def evil_entries(tmp_path, markdown):
    """One notebook, and a run, with a text of HTML wherever the report shows one."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text(
        json.dumps(
            {
                "arch": EVIL,
                "recipe": EVIL,
                "steps": 1,
                "pairs": 1,
                "seed": 0,
                "precision": EVIL,
                "wall_seconds": 1,
                "pairs_per_second": 1,
                "data": {
                    "name": EVIL,
                    "domains": [EVIL, FOUL],
                    "counts": [[1, 1, 1], [1, 1, 1]],
                    "fingerprint": "0" * 64,
                },
            }
        )
    )
    outputs = [
        nbformat.v4.new_output("stream", name=name, text=EVIL) for name in ("stdout", "stderr")
    ]
    outputs += [
        nbformat.v4.new_output("error", ename=EVIL, evalue=FOUL, traceback=[EVIL, FOUL]),
        nbformat.v4.new_output("execute_result", data={"text/plain": EVIL}),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A title\n\n" + markdown),
            nbformat.v4.new_code_cell(f"x = {FOUL!r}", outputs=outputs),
        ]
    )
    nbformat.write(notebook, tmp_path / "evil.ipynb")
    return [
        {
            "name": f"{EVIL}{FOUL}",
            "title": EVIL,
            "notebook": tmp_path / "evil.ipynb",
            "executed": tmp_path / "evil.ipynb",
            "error": f"E: {EVIL} {FOUL}",
            "mark": mark,
            "seconds": 1,
            "runs": [str(run)],
            "parameters": {"data": EVIL},
        }
        for mark in ("failed", "interrupted", "not run")
    ]


@pytest.mark.slow
def test_texts_of_html_stay_texts(tmp_path):
    page = render(evil_entries(tmp_path, ""), EVIL, EVIL)
    assert Elements(page).found == [] and page.count("&lt;img src=x onerror=alert(1)&gt;") > 20
    (tmp_path / "page.html").write_text(page)
    shown = shown_in_browser(tmp_path / "page.html", tmp_path / "browser")
    assert (
        f"<title>ganlib: {EVIL.replace('<', '&lt;').replace('>', '&gt;')}</title>" in shown
        and Elements(shown).found == []
    )


@pytest.mark.slow
def test_page_runs_and_loads_nothing_even_where_a_notebook_has_html(tmp_path):
    """Against a page without the policy, which does both: the check can fail."""
    asked = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    page = render(
        evil_entries(
            tmp_path,
            f"<img src='{address}/image'><link rel=stylesheet "
            f"href='{address}/style'><style>@import '{address}/import';"
            f"body {{ background: url({address}/url) }}</style><script "
            f"src='{address}/script'></script><script>document.title = 'fired'</script>"
            f"<iframe src='{address}/frame'></iframe><img src=x onerror=\"document.title = "
            "'fired'\">\n",
        ),
        "mine",
    )
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "open.html").write_text(
        re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    )
    shown = shown_in_browser(tmp_path / "page.html", tmp_path / "browser")
    assert asked == [] and "<title>ganlib: mine</title>" in shown
    assert "<title>fired</title>" in shown_in_browser(tmp_path / "open.html", tmp_path / "browser")
    assert {"/image", "/style", "/script", "/frame"} <= set(asked)
    server.shutdown()


@pytest.mark.slow
def test_data_with_names_of_html_goes_through_the_first_notebook(tmp_path):
    rng = np.random.default_rng(0)
    for split, n in (("train", 6), ("val", 4), ("test", 4)):
        for domain in (EVIL, "b\"'<b>"):
            (tmp_path / "faces" / split / domain).mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(
                    tmp_path / "faces" / split / domain / f"{i}{FOUL.replace('/', '')}"
                )
    (tmp_path / "faces/train" / EVIL / f"broken{FOUL}").write_text("no image")
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump(
            {
                "notebooks": [
                    {
                        "notebook": "01_data_analysis",
                        "parameters": {"data": str(tmp_path / "faces"), "image_size": 32},
                    }
                ]
            }
        )
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ganlib.report",
            str(tmp_path / "mine.yaml"),
            "--out",
            str(tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
    )
    page = (tmp_path / "out/report.html").read_text()
    assert done.returncode == 0, done.stderr
    assert (
        Elements(page).found == []
        and "&lt;img src=x onerror=" in page
        and "Content-Security-Policy" in page
    )
    shown = shown_in_browser(tmp_path / "out/report.html", tmp_path / "browser")
    assert "<title>ganlib: mine</title>" in shown and Elements(shown).found == []
