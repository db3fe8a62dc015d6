"""Cohorts drawn from the page, in a real browser: a job is cancelled, goes on, is done, and is compared."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polyclinic.core.cohort.cohort import Cohort

pytestmark = pytest.mark.slow  # each job loads the models


@pytest.fixture
def tab(browser: Any, folder: Path, tmp_path: Path, viewing: Callable[..., Any]) -> Iterator[Any]:
    """The page of a viewer that draws into tmp_path."""
    with viewing(folder, "--generate", tmp_path) as (address, _):
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        tab.goto(f"{address}#/generate")
        tab.wait_for_selector(".page[data-ready]")
        yield tab
        tab.close()


def test_a_job_is_cancelled_goes_on_and_is_done(
    tab: Any, tmp_path: Path, until: Callable[..., Any], shoot: Callable[..., None],
    violations: Callable[[Any], list[str]], axe: bool,
) -> None:  # fmt: skip
    tab.get_by_label("Cohort").select_option("icu")
    tab.get_by_label("Patients").fill("2")
    tab.get_by_label("Name of the folder").fill("../away")
    tab.click("#begin")
    until(lambda: "plain name" in tab.locator("[role=alert]").inner_text())
    tab.get_by_label("Name of the folder").fill("drawn")
    tab.click("#begin")
    job = tab.locator("#job-1")
    job.wait_for()
    assert tab.locator("#begin").is_disabled()
    job.get_by_role("button", name="Cancel").click()
    tab.wait_for_selector("#job-1[data-state=cancelled]", timeout=60_000)
    found = violations(tab) if axe else []
    job.get_by_role("button", name="Go on").click()
    tab.wait_for_selector("#job-1[data-state=done]", timeout=180_000)
    assert "done, 2 patients" in job.inner_text()
    shoot(tab, "generate")
    assert "polyclinic generate --cohort icu --patients 2 --seed 0 --out" in job.locator("pre").text_content()
    cohort = Cohort.open(tmp_path / "drawn")
    cohort.require_files(hashes=True)
    assert (cohort.patients, cohort.manifest["population"]["name"]) == (2, "icu")
    job.get_by_role("link").click()
    tab.wait_for_selector("figure[data-field=age]", timeout=60_000)
    assert "drawn: icu, 2 patients" in tab.inner_text(".legend")
    assert found == []


def test_a_job_that_cannot_be_says_why(tab: Any, tmp_path: Path) -> None:
    tab.get_by_label("or so many of each class of a field").fill("no_such_field: 2 yes")
    tab.get_by_label("Name of the folder").fill("wrong")
    tab.click("#begin")
    tab.wait_for_selector("#job-1[data-state=failed]", timeout=120_000)
    assert "no_such_field" in tab.inner_text("#job-1 .progress")
    assert not (tmp_path / "wrong").exists()
