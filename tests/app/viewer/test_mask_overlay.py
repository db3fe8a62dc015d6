"""A mask over its image in a real browser: the coloured layer covers what the segmentation's file covers, and goes."""

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import polyclinic as pc
from polyclinic.app.viewer.bundle import PAGE, _names

SIDE = 32
LAYER = "document.querySelector('.frame canvas.masks').toDataURL()"


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of two patients whose images have a disc that the mask covers."""
    place = tmp_path_factory.mktemp("masked")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    rows = []
    for n in range(400):
        disc = np.hypot(x - random.uniform(0.3, 0.4), y - random.uniform(0.5, 0.7)) < random.uniform(
            0.15, 0.25
        )
        Image.fromarray((60 + 120 * disc).astype(np.uint8)).save(place / f"{n}.png")
        Image.fromarray(disc.astype(np.uint8)).save(place / f"{n}-mask.png")
        rows.append({"patient_id": f"P{n}", "record": f"{n}.png"})
    pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    described = {
        "name": "discs", "split": None, "test_share": 0, "mask": "{stem}-mask.png", "mask_labels": {1: "disc"},
        "options": {"modality": "imaging", "shows": {"body_part": "CHEST"}},
    }  # fmt: skip
    (place / "dataset.yaml").write_text(yaml.safe_dump(described))
    config = {"modality": "imaging", "name": "discs", "model": {"kind": "cosine", "network": {"size": SIDE}}}
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    weights = place / "discs.safetensors"
    pc.train("imaging", data=place, out=weights, public=True, config=str(place / "config.yaml"))
    pc.generate_cohort(
        "icu", 2, out=place / "c", seed=1, workers=1, modalities=["imaging"], use={"imaging": weights}
    )
    return place / "c"


def test_a_segmentation_is_laid_over_its_image(masked: Path, browser, viewing, until, shoot) -> None:
    if PAGE not in _names():
        pytest.skip("the page is not built: app/viewer/web/build.sh")
    cohort = pc.open_cohort(masked)
    patient, record = next(iter(cohort.records("imaging")))
    mask = record.arrays["mask"] > 0
    assert 0.02 < mask.mean() < 0.5
    with viewing(masked) as (address, _):
        tab = browser.new_page(viewport={"width": 1300, "height": 900})
        wrong: list[str] = []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(f"{address}#/patient/{patient}")
        tab.wait_for_selector(".frame canvas.masks", timeout=90_000, state="attached")

        def layer() -> np.ndarray:
            """(row, column) whether the layer is painted."""
            url = tab.evaluate(LAYER)
            picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")
            return np.asarray(picture)[..., 3] > 0

        until(lambda: layer().any())
        shoot(tab, "mask")
        covered, own = layer(), np.nonzero(mask)
        assert covered.shape[0] == covered.shape[1]  # the frame is the whole image
        for places, expected in zip(np.nonzero(covered), own, strict=True):
            assert (places.mean() + 0.5) / len(covered) == pytest.approx(
                (expected.mean() + 0.5) / SIDE, abs=0.02
            )
        assert covered.mean() == pytest.approx(mask.mean(), rel=0.1)
        tab.get_by_label("disc").uncheck()
        until(lambda: not layer().any())
        tab.close()
        assert wrong == []
