"""The page of a patient in a real browser: what is drawn is what the files hold, links lead there, axe, phone."""

import base64
import io
import json
from datetime import UTC

import numpy as np
import pandas as pd
import pytest

PHONE, SCREEN = {"width": 400, "height": 850}, {"width": 1300, "height": 900}
CELLS = (
    "rows => [...document.querySelectorAll(rows)].map(row => [...row.children].map(one => one.textContent))"
)
NEAR = "name => Math.abs(document.querySelector(name).getBoundingClientRect().top - 250) < 255"
DRAWN = "[...document.querySelectorAll('.part')].map(one => one.dataset.drawn === 'true')"


@pytest.fixture(scope="module")
def patient_id(folder):
    """A patient with a tumour, so with all kinds of records."""
    table = pd.read_parquet(folder / "patients.parquet")
    return str(table.patient_id[table.has_omics].iloc[0])


@pytest.fixture(scope="module")
def page(browser, address, patient_id, until):
    """page(size, scheme): a tab on the patient's page, all parts drawn; what links them is planted, not read.

    What a tab logs as an error, and what it raises, fails the module.
    """
    said = {
        "subject": "age",
        "agrees": False,
        "compared": 2,
        "statements": [
            {"source": "DICOM tags", "value": "61", "certain": True, "agrees": False},
            {"source": "FHIR Patient", "value": "16", "certain": True, "agrees": False},
        ],
    }
    links = json.dumps({"patient_id": patient_id, "subjects": [said]})
    contexts, wrong = [], []

    def open_(size=SCREEN, scheme="light"):
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        tab = contexts[-1].new_page()
        tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.route("**/links", lambda route: route.fulfill(body=links, content_type="application/json"))
        tab.goto(f"{address}#/patient/{patient_id}")
        until(lambda: tab.locator(".part").count() > 4)
        for n in range(tab.locator(".part").count()):
            tab.locator(".part").nth(n).scroll_into_view_if_needed()
            until(lambda n=n: tab.evaluate(DRAWN)[n])
        assert tab.locator(".failed").count() == 0
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def tab(page):
    """One tab that the tests share; each goes to the part that it looks at."""
    return page()


def screen_of(tab):
    """(row, column) grey levels of the image's canvas, 0 to 255."""
    from PIL import Image

    url = tab.evaluate("document.querySelector('.screen canvas').toDataURL()")
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"), dtype=float
    )


def shows(drawn, pixels, window):
    """Whether a canvas shows an image, all of it, the right way round, in that window (lower, upper)."""
    from PIL import Image

    low, high = window
    side = min(drawn.shape)
    values = Image.fromarray(pixels.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    scaled = np.clip((np.asarray(values) - low) / (high - low), 0, 1) * 255
    top, left = ((size - side) // 2 for size in drawn.shape)
    part = drawn[top : top + side, left : left + side]
    if not part.std() or not scaled.std():
        return False  # nothing is drawn yet
    same = np.corrcoef(scaled.ravel(), part.ravel())[0, 1]
    return same > 0.995 and np.abs(scaled - part).mean() < 4


def test_the_x_ray_is_the_file_s_in_its_window(tab, folder, patient_id, until):
    import pydicom

    tab.locator(".part-images").scroll_into_view_if_needed()
    dataset = pydicom.dcmread(next((folder / "dicom" / patient_id).glob("*/*/*.dcm")))
    pixels = dataset.pixel_array
    whole = 0, 4095
    until(lambda: shows(screen_of(tab), pixels, whole), 20)
    drawn = screen_of(tab)
    for other in (pixels[:, ::-1], pixels[::-1], pixels.T, 4095 - pixels):  # what a wrong page would show
        assert not shows(drawn, other, whole)
    assert [tab.locator(f".side.{side}").inner_text() for side in ("left", "right", "top", "bottom")] == list(
        "RLHF"
    )

    def window():
        """Lower and upper grey level that the page says it shows."""
        width, centre = (int(tab.locator(".part-images .readout").inner_text().split()[n]) for n in (1, 3))
        return centre - width / 2, centre + width / 2

    screen = tab.locator(".screen")
    screen.focus()
    for _ in range(8):
        screen.press("d")  # narrower
    until(
        lambda: abs(window()[1] - window()[0] - 4095 * 0.9**8) < 3
    )  # it says what has been drawn, after the key
    narrow = window()
    until(lambda: shows(screen_of(tab), pixels, narrow), 20)
    assert not shows(screen_of(tab), pixels, whole)
    screen.press("r")
    tab.get_by_role("button", name="Invert").click()
    until(lambda: shows(screen_of(tab), 4095 - pixels, whole), 20)
    assert "inverted" in tab.locator(".part-images .readout").inner_text()
    screen.press("r")
    until(lambda: shows(screen_of(tab), pixels, whole), 20)
    before = tab.locator(".frame").first.get_attribute("data-corners")
    screen.press("+")
    screen.press("ArrowLeft")
    until(lambda: tab.locator(".frame").first.get_attribute("data-corners") != before)
    assert "zoom 115 %" in tab.locator(".part-images .readout").inner_text()


def test_calipers_measure_the_marked_beats(tab, folder, patient_id):
    import wfdb

    path = str(folder / "wfdb" / patient_id / "ecg")
    marks = wfdb.rdann(path, "atr")
    beats = [int(n) for n, symbol in zip(marks.sample, marks.symbol, strict=True) if symbol not in "+~"]
    paper, calipers = tab.locator(".paper"), tab.locator("canvas.calipers")
    calipers.scroll_into_view_if_needed()
    mm, speed, margin = (float(paper.get_attribute(f"data-{name}")) for name in ("mm", "speed", "margin"))
    box = calipers.bounding_box()

    def at(sample):
        return box["x"] + (margin + sample / 500 * speed) * mm, box["y"] + box["height"] * 0.85

    def drag(first, last):
        tab.keyboard.press("Escape")
        tab.mouse.move(*first)
        tab.mouse.down()
        tab.mouse.move(*last, steps=3)
        tab.mouse.up()
        return float(calipers.get_attribute("data-ms"))

    calipers.focus()
    for one, other in ((2, 3), (3, 4), (1, 5)):
        marked = 2 * (beats[other] - beats[one])
        assert drag(at(beats[one]), at(beats[other])) == pytest.approx(marked, rel=0.01)
    tab.get_by_label("calipers hold on to beats").uncheck()
    pixel = 1000 / speed / mm  # ms
    (x, y), (end, _) = at(beats[2]), at(beats[3])
    free = drag((x, y), (end, y - 5 * mm))
    assert free == pytest.approx(2 * (beats[3] - beats[2]), abs=1.5 * pixel)
    assert float(calipers.get_attribute("data-mv")) == pytest.approx(0.5, abs=0.06)
    assert f"{60_000 / free:.0f} /min" in tab.locator(".readout", has_text="mV").inner_text()
    calipers.focus()
    tab.keyboard.press("Escape")
    tab.keyboard.press("n")
    assert float(calipers.get_attribute("data-ms")) == pytest.approx(2 * (beats[1] - beats[0]), abs=0.01)
    median = 2 * np.median(np.diff(beats))
    assert f"{median:.0f} ms" in tab.locator(".intervals").inner_text()


def test_series_and_tumour_show_the_values_of_the_files(tab, folder, patient_id, until):
    import anndata
    import wfdb

    vitals = wfdb.rdrecord(str(folder / "wfdb" / patient_id / "vitals"))
    rows = [row[1:] for row in tab.evaluate(CELLS, ".values-table tbody tr")]
    charted = ~np.isnan(vitals.p_signal).all(0)
    shown = np.array([[float(text) if text[-1].isdigit() else np.nan for text in row] for row in rows])
    assert np.allclose(shown, vitals.p_signal[:, charted], equal_nan=True)
    assert tab.locator(".series .uplot").count() >= 3
    overview = tab.locator(".overview .u-over")
    overview.scroll_into_view_if_needed()
    box, hours = overview.bounding_box(), len(rows) - 1
    tab.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20, steps=4)
    tab.mouse.up()
    begins = vitals.base_datetime.replace(tzinfo=UTC).timestamp()
    low, high = (float(end) - begins for end in tab.locator(".charts").get_attribute("data-range").split(","))
    assert (low / 3600, high / 3600) == pytest.approx((hours / 4, hours / 2), abs=hours / 100)
    tab.get_by_role("button", name="All", exact=True).click()
    assert tab.locator(".charts").get_attribute("data-range") == f"{begins:.0f},{begins + 3600 * hours:.0f}"

    store = anndata.io.read_zarr(folder / "omics/rna.zarr")
    own = store[patient_id]
    values = pd.Series(np.asarray(own.X).ravel(), index=list(own.var["symbol"]))
    genes = [row[:2] for row in tab.evaluate(CELLS, ".genes tbody tr")]
    assert len(genes) == 40
    assert all(float(text) == pytest.approx(values[name], abs=6e-4) for name, text in genes)
    assert tab.locator(".pca circle.dot").count() == len(store) + 1
    heat = tab.locator(".heat canvas")
    heat.evaluate("one => one.scrollIntoView()")
    box = heat.bounding_box()
    tab.mouse.move(box["x"] + 97, box["y"] + 27)  # the first gene of the patient's own column
    until(lambda: genes[0][0] in tab.locator(".tip").inner_text())
    assert f"{float(genes[0][1]):.2f}" in tab.locator(".tip").inner_text()


def test_dots_of_the_timeline_stand_at_their_dates(tab, folder, patient_id):
    """Where a dot's middle stands is where the axis has its time, though studies of one day stand above each other."""
    marks = tab.evaluate(
        """[...document.querySelectorAll('.lane-studies .mark, .lane-visits .mark')].map(one => { const box =
        one.getBoundingClientRect(); return [+one.dataset.time, box.left + box.width / 2, box.top]; })"""
    )
    ticks = tab.evaluate(
        "[...document.querySelectorAll('.years span')].map(o => [+o.dataset.time, o.getBoundingClientRect().left])"
    )
    assert len(ticks) > 1
    (early, left), (late, right) = ticks[0], ticks[-1]
    for time, x, _ in marks:
        assert x == pytest.approx(left + (right - left) * (time - early) / (late - early), abs=2)
    assert len({(round(x), round(y)) for _, x, y in marks}) == len(marks)
    assert tab.locator(".lane-studies .mark").count() > 2


def test_statements_lead_to_what_shows_them(tab, folder, patient_id, until):
    report = tab.locator(".statements li", has_text="Chest X-ray study").get_by_role("button")
    report.click()
    until(lambda: tab.evaluate(NEAR, ".part-images"))
    until(
        lambda: tab.evaluate("document.activeElement.id") == "part-images"
    )  # the keyboard goes on from there
    row = tab.locator("tr", has_text="ESR1 expression in tumour").get_by_role("button").first
    row.click()
    until(lambda: tab.evaluate(NEAR, ".part-omics"))
    tab.locator(".notes mark button", has_text="ECG").or_(
        tab.locator(".notes mark[data-label='VALUE'] button")
    ).first.click()
    until(lambda: tab.evaluate("document.activeElement.id.startsWith('part-')"))
    mark = tab.locator(".lane-studies .mark").last
    mark.focus()
    mark.press("Enter")
    until(lambda: tab.evaluate("document.activeElement.id.startsWith('part-')"))
    assert "contradict each other on 1 of 1" in tab.locator(".part-links").inner_text()
    ids = list(pd.read_parquet(folder / "patients.parquet").patient_id)
    after = ids[ids.index(patient_id) + 1]
    assert tab.locator(".turn a").last.get_attribute("href") == f"#/patient/{after}"


def test_the_page_is_accessible_and_fits_a_screen(tab, shoot, violations):
    looked_at(tab, shoot)
    assert violations(tab) == []


def test_the_page_is_accessible_and_fits_a_phone_in_the_dark(page, shoot, violations):
    tab = page(PHONE, "dark")
    looked_at(tab, shoot)
    assert violations(tab) == []


def looked_at(tab, shoot):
    """Keep what each part looks like; nothing is wider than the window."""
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]
    for part in ("images", "signal-0", "signal-1", "omics", "record"):
        tab.evaluate("name => document.querySelector(`.part-${name}`).scrollIntoView()", part)
        shoot(tab, f"patient-{part}")
    tab.evaluate("scrollTo(0, 0)")
    shoot(tab, "patient")
