"""The live ward in a real browser: beds move, an event is seen, it stops; and a stream that is sent to a page."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PHONE = {"width": 400, "height": 850}
INK = """() => { const one = document.querySelector('.bed canvas'); const data = one.getContext('2d')
    .getImageData(0, 0, one.width, one.height).data; let count = 0;
    for (let k = 3; k < data.length; k += 4) count += data[k] > 0; return count; }"""


def test_a_ward_moves_and_an_event_befalls_a_bed(
    opened: Callable[..., Any], until: Callable[..., Any], shoot: Callable[..., None],
    violations: Callable[[Any], list[str]], axe: bool,
) -> None:  # fmt: skip
    tab = opened("#/ward")
    tab.get_by_label("Beds").fill("2")
    tab.click("#start")
    tab.wait_for_selector("[data-bed='bed-2'][data-second]", timeout=120_000)
    bed = tab.locator("[data-bed='bed-1']")
    before = int(bed.get_attribute("data-second"))
    until(lambda: int(bed.get_attribute("data-second")) > before + 1)
    until(lambda: tab.evaluate(INK) > 300)
    assert 30 < float(bed.locator("[data-channel='HR'] dd").inner_text()) < 220
    bed.locator("[data-event='lead_off']").click()
    until(lambda: "electrode off" in bed.locator(".alarms").inner_text())
    assert "By rule: electrode off" in bed.inner_text()
    assert "alarming" in bed.get_attribute("class")
    shoot(tab, "ward")
    assert "electrode" not in tab.locator("[data-bed='bed-2'] .alarms").inner_text()
    bed.locator("[data-event='recovery']").click()
    until(lambda: "electrode" not in bed.locator(".alarms").inner_text())
    until(lambda: "By rule" not in bed.inner_text())
    phone = opened("#/ward", PHONE, "dark")  # a second page sees the same ward
    phone.wait_for_selector("[data-bed='bed-2'][data-second]", timeout=60_000)
    assert phone.evaluate("document.documentElement.scrollWidth") == 400
    until(lambda: phone.evaluate(INK) > 300)
    shoot(phone, "ward")
    found = [*violations(tab), *violations(phone)] if axe else []
    tab.click("#stop")
    tab.wait_for_selector("#start", timeout=60_000)
    assert tab.locator(".bed").count() == 0
    until(lambda: "no signal" in phone.locator("[data-bed='bed-1'] .alarms").inner_text())
    assert found == []


@pytest.mark.slow
def test_a_stream_is_sent_to_a_page(
    folder: Path, browser: Any, address: str, until: Callable[..., Any], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "polyclinic",
        "stream",
        str(folder),
        "--to",
        "view://127.0.0.1:0",
        "--patients",
        "1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    with process:
        assert process.stderr is not None
        try:
            found = None
            while found is None:
                line = process.stderr.readline()
                assert line, "the stream has ended"
                found = re.search(r"open (http://127.0.0.1:[1-9]\d*/#/ward)", line)
            tab = browser.new_page()
            tab.goto(found[1])
            tab.wait_for_selector("[data-bed='bed-1'][data-second]", timeout=60_000)
            assert tab.locator(".bed button").count() == 0
            assert tab.locator("#start").count() == 0
            tab.close()
        finally:
            process.terminate()
        assert process.wait(60) == 130
