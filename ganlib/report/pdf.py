"""The page of a report as a PDF, by a Chromium that is installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ganlib.errors import InputError, printable

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 180  # seconds that a browser has


def find_browser() -> str:
    """The path of a Chromium; InputError where there is none."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise InputError(
        f"--pdf: no Chromium found ({', '.join(BROWSERS)}); install it (Debian and Ubuntu: apt "
        "install chromium), or print the page from your own browser"
    )


def write_pdf(page: Path) -> Path:
    """Print a page, as it looks on paper, to a PDF of its name beside it; returns its path.
    InputError where there is no browser, and where it fails."""
    page = page.resolve()
    path = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        made = Path(place) / "page.pdf"
        asked = [find_browser(), "--headless", "--disable-gpu", f"--user-data-dir={place}/profile"]
        # It reaches for no network: the page loads nothing, and neither is the browser to
        asked += ["--disable-background-networking", "--no-first-run", "--no-pdf-header-footer"]
        if os.geteuid() == 0:
            asked.append("--no-sandbox")  # Chromium has none for root; the page runs no script
        asked += [f"--print-to-pdf={made}", page.as_uri()]
        try:
            done = subprocess.run(asked, capture_output=True, timeout=PATIENCE)
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        except subprocess.TimeoutExpired:
            said = [f"it took more than {PATIENCE} seconds"]
        if not made.exists():
            why = printable(" ".join(said))[:200]
            raise InputError(f"--pdf: {asked[0]} made no PDF ({why}); print the page by hand")
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        shutil.copyfile(made, part)
        os.replace(part, path)
    return path
