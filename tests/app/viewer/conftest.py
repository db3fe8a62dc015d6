"""What tests of the viewer share: a small cohort with all kinds of records, a viewer of it, a browser, axe-core."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyclinic.app.viewer.bundle import PAGE, _names

CHROMIUM = shutil.which("chromium") or ""
AXE = Path(os.environ.get("POLYCLINIC_NODE_MODULES", "")) / "axe-core" / "axe.min.js"
SHOTS = os.environ.get("POLYCLINIC_SCREENSHOTS", "")  # a folder that keeps what pages look like
ARGUMENTS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PHONE, SCREEN = {"width": 400, "height": 850}, {"width": 1300, "height": 900}
PATIENTS, OTHERS = 6, 5
START = 60.0  # s that a viewer may take on a busy machine until it listens


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with images, ECGs, vitals, tumours and health records."""
    import polyclinic as pc

    place = tmp_path_factory.mktemp("viewer") / "shown"
    pc.generate_cohort("cardio_oncology", PATIENTS, out=place, seed=7, workers=1)
    return place


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, of health records alone."""
    import polyclinic as pc

    place = tmp_path_factory.mktemp("viewer") / "other"
    pc.generate_cohort("icu", OTHERS, out=place, seed=3, workers=1, modalities=["records"])
    return place


@contextmanager
def _viewing(*arguments: object, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of `polyclinic view` with these arguments, while the block lasts, and its process."""
    command = [sys.executable, "-m", "polyclinic", "view", *map(str, arguments), "--port", "0", "--no-open"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://\S+/", said)
        assert found, said + process.stderr.read()
        yield found[0], process
    finally:
        process.terminate()
        with process:  # closes its pipe
            assert process.wait(START) in (0, 130, -15)


@pytest.fixture(scope="session")
def address(folder: Path, other: Path) -> Iterator[str]:
    """A viewer of the cohort beside the other one."""
    if PAGE not in _names():
        pytest.skip("the page is not built: app/viewer/web/build.sh")
    with _viewing(folder, other) as (address, _):
        yield address


@pytest.fixture(scope="module")  # its event loop is in the way of others: no longer than needed
def browser() -> Iterator[Any]:
    """Debian's Chromium, which draws WebGL without a graphics card."""
    if not CHROMIUM:
        pytest.skip("no Chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """opened(page, size, scheme): a tab on that page of the viewer, `#/...`, when it is there.

    What a tab logs as an error, and what it raises, fails the test.
    """
    contexts, wrong = [], list[str]()

    def open_(page: str = "#/", size: dict[str, int] = SCREEN, scheme: str = "light") -> Any:
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(f"{address}{page}")
        tab.wait_for_selector(".page[data-ready]", timeout=90_000)
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def _violations(tab: Any) -> list[str]:
    """What axe-core finds serious or critical. The test is skipped where axe-core is absent."""
    if not AXE.is_file():
        pytest.skip("POLYCLINIC_NODE_MODULES names no folder with npm's axe-core")
    tab.evaluate(AXE.read_text())  # not by a script element, which the policy of the page forbids
    found = tab.evaluate("axe.run(document)")
    assert len(found["passes"]) > 15, "axe-core looked at nothing"
    grave = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{v['impact']}: {v['id']}: {v['nodes'][0]['html'][:200]}" for v in grave]


def _shoot(tab: Any, name: str) -> None:
    """Keep what a tab shows, where POLYCLINIC_SCREENSHOTS names a folder."""
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=Path(SHOTS) / f"{name}-{tab.viewport_size['width']}.png")


def _until(true: Callable[[], Any], seconds: float = 150.0) -> Any:
    """What `true` gives, once it gives something; wait_for_function() is text that runs, which the policy forbids."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="session")
def violations() -> Callable[[Any], list[str]]:
    return _violations


@pytest.fixture(scope="session")
def shoot() -> Callable[[Any, str], None]:
    return _shoot


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    return _until


@pytest.fixture(scope="session")
def viewing() -> Callable[..., Any]:
    return _viewing


@pytest.fixture(scope="session")
def axe() -> bool:
    """Whether axe-core is there; a test that shows more than what it finds goes on without it."""
    return AXE.is_file()
