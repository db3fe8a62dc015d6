"""Each page at two widths and in both colours: axe-core, nothing cut, the keyboard; two cohorts; the papers."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PHONE, SCREEN = {"width": 400, "height": 850}, {"width": 1300, "height": 900}
PAGES = {"": "cohort", "compare": "compare", "report": "report", "generate": "generate"}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (SCREEN, "light")], ids=["phone", "screen"])
def test_axe_finds_nothing_grave_and_nothing_scrolls_sideways(
    opened: Callable[..., Any], page: str, size: dict[str, int], scheme: str, violations: Callable[[Any], list[str]],
    shoot: Callable[..., None],
) -> None:  # fmt: skip
    tab = opened(f"#/{page}", size, scheme)
    if not page:
        tab.click(".fields summary")
        tab.wait_for_selector(".distributions figure")
    assert tab.evaluate("document.documentElement.scrollWidth") == size["width"]
    assert tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    shoot(tab, f"{PAGES[page]}-{scheme}")
    assert violations(tab) == []


def test_the_colours_can_be_chosen(opened: Callable[..., Any], until: Callable[..., Any]) -> None:
    tab = opened()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = tab.evaluate(ground)
    tab.click("#theme")
    tab.click("#theme")
    until(lambda: tab.evaluate(ground) != light)
    tab.reload()
    tab.wait_for_selector(".page[data-ready]")
    until(lambda: tab.evaluate(ground) != light)


def test_a_patient_is_opened_by_the_keyboard_and_the_filters_are_kept(
    opened: Callable[..., Any], until: Callable[..., Any]
) -> None:
    tab = opened()
    rows = "document.querySelectorAll('tr.patient').length"
    patient = tab.evaluate("document.querySelectorAll('tr.patient a')[1].textContent")
    tab.keyboard.press("Tab")
    until(lambda: tab.evaluate("document.activeElement.id") == "skip")
    tab.keyboard.press("Enter")
    until(lambda: tab.evaluate("document.activeElement.id") == "main")
    tab.get_by_label("Search").focus()
    tab.keyboard.type(patient)
    until(lambda: tab.evaluate(rows) == 1)
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.textContent") == patient:
            break
    tab.keyboard.press("Enter")
    until(lambda: tab.url.endswith(f"#/patient/{patient}"))
    tab.go_back()
    until(lambda: tab.evaluate(rows) == 1)
    assert tab.get_by_label("Search").input_value() == patient


@pytest.mark.parametrize("where", ["tr.patient a", "th button[data-key=age]"])
def test_the_focus_stays_where_it_is_while_the_table_is_drawn_anew(
    opened: Callable[..., Any], until: Callable[..., Any], where: str
) -> None:
    tab = opened()
    rows = "[...document.querySelectorAll('tr.patient a')].map((link) => link.textContent)"
    everyone = tab.evaluate(rows)
    tab.evaluate(
        """([search, where, text]) => {
        search.value = text
        search.dispatchEvent(new Event('input'))
        document.querySelector(where).focus()
        window.before = document.activeElement
    }""",
        [tab.get_by_label("Search").element_handle(), where, everyone[0]],
    )
    until(lambda: tab.evaluate(rows) == everyone[:1])  # a moment after what was typed
    assert tab.evaluate("document.activeElement !== before")
    assert tab.evaluate("document.activeElement.textContent === before.textContent")


def test_two_cohorts_are_side_by_side(opened: Callable[..., Any]) -> None:
    tab = opened("#/compare")
    legend = tab.inner_text(".legend")
    assert "shown: cardio_oncology, 6 patients" in legend
    assert "other: icu, 5 patients" in legend
    said = tab.get_attribute("figure[data-field=sex] svg", "aria-label")
    counts = [sum(int(part.rsplit(": ", 1)[1]) for part in side.split(", ")[1:]) for side in said.split("; ")]
    assert counts == [6, 5]
    sizes = [
        abs(float(text.split()[1].replace("\u2212", "-")))
        for text in tab.locator(".values span:last-child").all_inner_texts()
        if text.startswith("difference")
    ]
    assert sizes == sorted(sizes, reverse=True)


@pytest.fixture
def judged(folder: Path, tmp_path: Path) -> Path:
    """The cohort with a report, a certificate and a journal, as a release leaves them."""
    place = tmp_path / "judged"
    shutil.copytree(folder, place)
    script = "<script>document.title = 'it ran'</script>"
    (place / "report.html").write_text(
        f"<!doctype html><style>h1 {{color: red}}</style><h1>Scores</h1>{script}"
    )
    (place / "certificate.json").write_text(
        json.dumps({"policy": "partner", "passed": True, "limits": {"c2st": 0.8}})
    )
    ledger = [{"population": "clinic", "purpose": "imaging", "epsilon_prv": 3.5}]
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in ledger))
    return place


@pytest.fixture
def papers(browser: Any, judged: Path, viewing: Callable[..., Any]) -> Iterator[Any]:
    with viewing(judged, "--ledger", judged.parent / "ledger.jsonl") as (address, _):
        tab = browser.new_page(viewport=SCREEN)
        tab.goto(f"{address}#/report")
        tab.wait_for_selector(".page[data-ready]")
        yield tab
        tab.close()


def test_report_certificate_and_ledger_are_in_the_same_frame(papers: Any) -> None:
    frame = papers.frame_locator("iframe.report")
    assert frame.locator("h1").inner_text() == "Scores"
    colour = frame.locator("h1").evaluate("one => getComputedStyle(one).color")
    assert colour == "rgb(255, 0, 0)"  # its own styles hold
    assert papers.title() != "it ran"
    assert frame.locator("h1").evaluate("() => document.title") != "it ran"
    papers.get_by_role("tab", name="Report").press("ArrowRight")
    assert "partner" in papers.inner_text("#paper")
    assert papers.locator("#paper .good").inner_text() == "yes"
    papers.get_by_role("tab", name="Ledger").click()
    assert "clinic" in papers.inner_text("#paper")
    papers.get_by_role("tab", name="Journal").click()
    assert "nobody" in papers.inner_text("#paper")
