"""A cohort of images that are no chests: what stands in its files of chests, and of this machine."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import polyclinic as pc
from polyclinic.core.training.weights import read_card


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients with an image of skin, weights and a report beside it."""
    place = tmp_path_factory.mktemp("own")
    (data := place / "data").mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    with (data / "patients.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "mrn", "age", "split"])
        for i in range(150):
            image = (
                180 - 120 * np.exp(-((x - rng.normal(0, 0.2)) ** 2 + y**2) / 0.1) + rng.normal(0, 4, (32, 32))
            )
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(data / f"{i}.png")
            rows.writerow([f"{i}.png", f"P{i}", 20 + i % 60, "test" if i % 5 == 0 else "train"])
    (data / "dataset.yaml").write_text(
        "{name: skin, table: patients.csv, record: image, patient_id: mrn, split: split, fields: {age: {column: age}}, "
        "options: {modality: imaging, shows: {iod: XC, body_part: SKIN}, burned_in: ignore}}"
    )
    weights = pc.train("imaging", data, place / "skin.safetensors", public=True, config="imaging_cosine").path
    out = place / "cohort"
    pc.generate_cohort(
        "general_ward",
        4,
        out=out,
        seed=1,
        modalities=["imaging", "records"],
        use={"imaging": weights},
        workers=1,
    )
    pc.evaluate(out, reference=data, out=place / "report", quick=True)
    return out


def test_nobody_has_a_view_of_a_chest_that_no_image_shows(cohort: Path) -> None:
    assert "chest_view" not in pc.open_cohort(cohort).patients
    shipped = cohort.parent / "shipped"
    pc.generate_cohort("general_ward", 1, out=shipped, seed=1, modalities=["imaging"], workers=1)
    assert pc.open_cohort(shipped).patients["chest_view"].isin(["AP", "PA"]).all()


def test_no_file_names_a_place_on_this_machine(cohort: Path) -> None:
    place = cohort.parent
    package = Path(pc.__file__).resolve().parents[2]
    files = [path for path in place.rglob("*") if path.is_file() and not path.is_relative_to(place / "data")]
    assert {".json", ".parquet", ".html", ".ndjson", ".dcm", ".safetensors"} <= {
        path.suffix for path in files
    }
    found = re.compile("|".join(re.escape(str(p)) for p in (place, package, Path.home())).encode())
    assert [path.name for path in files if found.search(path.read_bytes())] == []
    assert str(place) not in read_card(place / "skin.safetensors").model_dump_json()
