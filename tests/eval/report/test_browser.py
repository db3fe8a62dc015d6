"""The report in a real browser: axe-core, phone, screen, folding; skipped where Chromium or axe-core is absent."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or ""
AXE = Path(os.environ.get("POLYCLINIC_NODE_MODULES", "")) / "axe-core" / "axe.min.js"
NAME = "Recognising a left bundle branch block, AUROC on held-out real patients"  # as long as names get
VIEWS = 8  # more than the modalities that ship have
TALLEST = 8000  # pixels, at 1300 wide
PHONE, SCREEN = {"width": 400, "height": 850}, {"width": 1300, "height": 900}

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium"),
    pytest.mark.skipif(
        not AXE.is_file(), reason="POLYCLINIC_NODE_MODULES names no folder with npm's axe-core"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, page_of: Callable[..., str], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """opened(size, scheme, views): a report with that many kinds of records in a window of that size."""
    contexts = []

    def open_(size: dict[str, int], scheme: str = "light", views: int = 4) -> Any:
        (tmp_path / "report.html").write_text(page_of(NAME, views, 2))
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.goto((tmp_path / "report.html").as_uri())
        return tab

    yield open_
    for context in contexts:
        context.close()


def unfold(tab: Any) -> None:
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")


def violations(tab: Any) -> list[str]:
    tab.evaluate(AXE.read_text())
    found = tab.evaluate("axe.run(document)")
    assert len(found["passes"]) > 15, "axe-core looked at nothing"
    return [f"{v['impact']}: {v['id']}: {v['nodes'][0]['html'][:200]}" for v in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, SCREEN], ids=["phone", "screen"])
def test_axe_finds_nothing(opened: Callable[..., Any], size: dict[str, int], scheme: str) -> None:
    tab = opened(size, scheme, 1)
    unfold(tab)
    assert violations(tab) == []


def test_axe_would_find_a_faint_colour_and_a_picture_without_words(opened: Callable[..., Any]) -> None:
    tab = opened(PHONE, views=1)
    tab.add_style_tag(content=":root { --soft: #c0c8d0; }")
    tab.evaluate("document.querySelector('img').removeAttribute('alt')")
    found = {line.split(": ")[1] for line in violations(tab)}
    assert found == {"color-contrast", "image-alt"}


CUT = """() => [...document.querySelectorAll('caption, figcaption, h1, h2, h3, p, li, th, td, .chip, .under, img, svg')]
    .filter(one => one.getClientRects().length && !one.closest('thead'))
    .filter(one => { const box = one.getBoundingClientRect(); return box.left < 0 || box.right > innerWidth + 0.5; })
    .map(one => one.outerHTML.slice(0, 100))"""


@pytest.mark.parametrize("width", [320, 400, 701, 1300])
def test_nothing_is_cut_and_nothing_scrolls_sideways(opened: Callable[..., Any], width: int) -> None:
    tab = opened({"width": width, "height": 850})
    unfold(tab)
    assert tab.evaluate("document.querySelectorAll('caption').length") > 10
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CUT) == []
    inside = "[...document.querySelectorAll('*')].filter(one => getComputedStyle(one).overflowX != 'visible')"
    assert tab.evaluate(f"{inside}.filter(one => !one.closest('thead, svg, img')).length") == 0


def test_a_long_report_is_short_until_it_is_unfolded(opened: Callable[..., Any]) -> None:
    tab = opened(SCREEN, views=VIEWS)
    height = "document.documentElement.scrollHeight"
    assert tab.evaluate(height) < TALLEST
    unfold(tab)
    tab.wait_for_function(f"{height} > {2 * TALLEST}", timeout=5000)


def test_a_link_from_the_verdict_unfolds_the_section_of_that_view(opened: Callable[..., Any]) -> None:
    tab = opened(PHONE)
    section = tab.locator("#view3")
    assert not section.is_visible()
    tab.click("a[href='#view3']")
    section.wait_for(state="visible", timeout=5000)
    assert not tab.locator("#view2").is_visible()


def test_a_phone_shows_the_head_of_each_cell_and_a_table_stays_a_table(opened: Callable[..., Any]) -> None:
    tab = opened(PHONE)
    cell = tab.get_by_role("row").get_by_role("cell").first  # by what assistive technology is told
    assert cell.evaluate("one => getComputedStyle(one, '::before').content").startswith('"Distance: do the')
    assert tab.get_by_role("rowheader").count() == 4
    assert tab.get_by_role("columnheader").count() == 5


def test_paper_has_what_is_folded(opened: Callable[..., Any]) -> None:
    tab = opened(SCREEN)
    folded = "document.querySelector('#view3').checkVisibility({contentVisibilityAuto: true})"
    assert not tab.evaluate(folded)
    tab.emulate_media(media="print")
    tab.wait_for_function(folded, timeout=5000)  # laid out for paper in the next frame
