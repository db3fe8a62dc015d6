"""Masks beside images: read on the image's grid from any format, learnt publicly or privately, drawn to fit."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from polyclinic.app.training import Privacy, train
from polyclinic.conditioning.dataset.dataset import read_training_set
from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.core.config import DatasetConfig, parse
from polyclinic.core.errors import InputError
from polyclinic.core.fields import FIELDS
from polyclinic.core.identity import identified
from polyclinic.core.modality import Batch, Record, TrainingSet
from polyclinic.core.profile import PatientProfile
from polyclinic.core.remarks import DataWarning
from polyclinic.core.training.weights import load
from polyclinic.modalities.imaging.data import read_slices
from polyclinic.modalities.imaging.export import export
from polyclinic.modalities.imaging.generator import ImageGenerator
from polyclinic.modalities.imaging.masks import labelled

SIDE = 16
LABELS = {1: "lung", 7: {"label": "nodule", "codes": {"snomed": "27925004"}}}
NETWORK = {"size": SIDE, "widths": [16, 32], "attention": [False, False], "head": 16, "components": 12}


def pair(random: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc, that the mask covers, with a brighter spot in it or none."""
    y, x = np.mgrid[:side, :side] / side
    at, radius = random.uniform(0.4, 0.6, 2), random.uniform(0.15, 0.3)
    disc = np.hypot(x - at[0], y - at[1]) < radius
    spot = disc & (np.hypot(x - at[0], y - at[1]) < 0.1) & (random.random() < 0.5)
    image = 60 + 90 * disc + 80 * spot + 5 * random.standard_normal(disc.shape)
    return image.clip(0, 255).astype(np.uint8), np.where(spot, 7, disc).astype(np.uint8)


def folder(place: Path, patients: int, without: int = 0, **stated: Any) -> Path:
    """PNG pairs, the last of which have no mask, described by a dataset.yaml."""
    random = np.random.default_rng(0)
    place.mkdir()
    rows = []
    for n in range(patients):
        image, mask = pair(random)
        Image.fromarray(image).save(place / f"{n}.png")
        name = f"{n}-mask.png" if n < patients - without else ""
        if name:
            Image.fromarray(mask).save(place / name)
        rows.append({"patient_id": f"P{n}", "record": f"{n}.png", "outline": name})
    return described(place, rows, **{"mask": "outline", **stated})


def described(place: Path, rows: list[dict[str, Any]], **stated: Any) -> Path:
    if rows:
        pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    known = {
        "name": "made up", "licence": "CC0", "split": None, "test_share": 0, "mask_labels": LABELS,
        "options": {"modality": "imaging", "shows": {"body_part": "CHEST"}}, **stated,
    }  # fmt: skip
    (place / "dataset.yaml").write_text(yaml.safe_dump(known))
    return place


def opened(place: Path) -> TrainingSet:
    text = yaml.safe_load((place / "dataset.yaml").read_text())
    return read_training_set(parse(DatasetConfig, text, "dataset.yaml"), place, "train")


def masks(place: Path, size: int = SIDE) -> np.ndarray:
    """(row, y, x) labels as a model would be taught them, brought back."""
    images, _, _ = read_slices(opened(place), size, 1, len(LABELS))
    return np.stack([labelled(planes) for planes in images[:, 1:] / 2047.5 - 1])


def test_a_picture_s_mask_comes_back_from_its_planes_and_rows_without_one_are_left_out(
    tmp_path: Path,
) -> None:
    place = folder(tmp_path / "d", 9, without=2)
    expected = [np.asarray(Image.open(place / f"{n}-mask.png")) for n in range(7)]
    with pytest.warns(DataWarning, match=r"2 images have no mask and are left out \(7 have one\)"):
        assert np.array_equal(masks(place), np.where(np.stack(expected) == 7, 2, expected))
    assert len(read_slices(opened(place), SIDE)[0]) == 9  # without masks all are taken
    with pytest.warns(DataWarning):
        half = masks(place, SIDE // 2)
    assert (half > 0).mean() == pytest.approx((np.stack(expected) > 0).mean(), abs=0.02)


def test_a_rule_makes_the_path_of_a_mask(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", 5, without=1, mask="{folder}/{stem}-mask.png")
    assert opened(place).masks == ("0-mask.png", "1-mask.png", "2-mask.png", "3-mask.png", "")


def test_slices_of_volumes_have_theirs(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    planes = [pair(random) for _ in range(5)]
    rows = []
    for name, kind in (("image", 0), ("mask", 1)):
        volume = np.stack([plane[kind][::-1, ::-1].T for plane in planes], axis=2)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 2, 3, 1])), tmp_path / f"{name}.nii.gz")  # type: ignore[no-untyped-call]
    rows.append({"patient_id": "P", "record": "image.nii.gz", "outline": "mask.nii.gz"})
    chosen = {"modality": "imaging", "slices": {"first": 1, "last": 3}}
    described(tmp_path, rows, mask="outline", options=chosen)
    assert np.array_equal(masks(tmp_path), [np.where(p[1] == 7, 2, p[1]) for p in planes[1:4]])
    moved = nibabel.Nifti1Image(np.zeros((SIDE, SIDE, 5), np.uint8), np.diag([2.0, 2, 4, 1]))  # type: ignore[no-untyped-call]
    nibabel.save(moved, tmp_path / "mask.nii.gz")  # type: ignore[no-untyped-call]
    with pytest.raises(InputError, match=r"its voxels do not lie where those of its image image\.nii\.gz do"):
        masks(tmp_path)


def test_dicom_segmentations_are_found_by_the_image_that_they_name(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    people = [PatientProfile(f"P{n}", 50.0, "F") for n in range(4)]
    expected = []
    for person in people:
        image, mask = pair(random)
        labels = [
            {"label": "Nodule", "codes": {}},
            {"label": "lung", "codes": {}},
        ]  # another order: names count
        facts = {"iod": "CR", "body_part": "CHEST", "view": "PA", "pixel_spacing_mm": 1.0, "derivation": "x"}
        numbers = np.where(mask == 7, 1, 2 * mask).astype(np.uint8)
        record = Record(
            {"image": image.astype(np.uint16) << 4, "mask": numbers}, {**facts, "mask_labels": labels}
        )
        export([identified(record, person, 1, {}, {})], [person], tmp_path)
        expected.append(np.where(mask == 7, 2, mask))
    described(tmp_path, [], dicom="dicom/**/*.dcm", mask="dicom/**/*.dcm")
    data = opened(tmp_path)
    assert len(data) == len(people)  # segmentations are no images
    order = [int(profile.patient_id[1:]) for profile in data.profiles]
    assert np.array_equal(masks(tmp_path), np.stack(expected)[order])


def spoilt_size(place: Path) -> None:
    Image.new("L", (SIDE, SIDE + 1)).save(place / "0-mask.png")


def spoilt_values(place: Path) -> None:
    Image.new("L", (SIDE, SIDE), 3).save(place / "0-mask.png")


def spoilt_colours(place: Path) -> None:
    Image.new("RGB", (SIDE, SIDE)).save(place / "0-mask.png")


def spoilt_cut(place: Path) -> None:
    (place / "0-mask.png").write_bytes((place / "0-mask.png").read_bytes()[:60])


def spoilt_gone(place: Path) -> None:
    (place / "0-mask.png").unlink()


def spoilt_jpeg(place: Path) -> None:
    table = (place / "patients.csv").read_text()
    (place / "patients.csv").write_text(table.replace("0-mask.png", "0-mask.jpg"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoilt_size, r"0-mask\.png: expected the grid of its image 0\.png, 16 x 16 pixels, got 17 x 16"),
        (
            spoilt_values,
            r"0-mask\.png: 1 values have no label \(3\); mask_labels names 1, 7, and 0 is the background",
        ),
        (spoilt_colours, r"0-mask\.png: expected a value a pixel, got RGB"),
        (spoilt_cut, r"0-mask\.png: cannot be read as a picture"),
        (spoilt_gone, r"0-mask\.png: no such file; expected the mask of an image"),
        (spoilt_jpeg, r"0-mask\.jpg: JPEG changes the values of a mask"),
    ],
)
def test_a_mask_that_does_not_fit_is_one_line(spoil: Any, said: str, tmp_path: Path) -> None:
    place = folder(tmp_path / "d", 3)
    spoil(place)
    with pytest.raises(InputError, match=rf"1 of 3 files cannot be read: .*{said}"):
        read_slices(opened(place), SIDE, 1, 2)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"mask": "nowhere"}, "no column 'nowhere'"),
        ({"mask": "{patient}.png"}, r"expected \{folder\}, \{stem\}, \{name\} of the image's path"),
        ({"mask": "*.dcm"}, "needs `dicom: PATTERN`"),
        ({"mask_labels": {}}, "give mask and mask_labels together"),
        ({"mask_labels": {0: "lung"}}, "values from 1 to 65535"),
        ({"mask_labels": {1: "lung", 2: "Lung"}}, "two values have one name"),
    ],
)
def test_a_description_that_cannot_be_followed_is_one_line(
    stated: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        opened(folder(tmp_path / "d", 2, **stated))


def test_a_mask_belongs_to_one_patient(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", 3)
    table = (place / "patients.csv").read_text()
    (place / "patients.csv").write_text(table.replace("1-mask.png", "0-mask.png"))
    with pytest.raises(InputError, match=r"1 masks are named for images of two patients: 0-mask\.png"):
        opened(place)


def drawn(out: Path, number: int) -> list[Record]:
    encoder = ProfileEncoder(FIELDS)
    people = tuple(PatientProfile(f"{n}") for n in range(number))
    generator = ImageGenerator(load(out), encoder.columns)
    return generator.sample(Batch(people, encoder.encode(people), tuple(range(number))))


def contrast(records: list[Record]) -> float:
    """How much brighter images are under their mask than beside it, of 4095."""
    images, covers = (np.stack([r.arrays[name] for r in records]) for name in ("image", "mask"))
    assert set(np.unique(covers)) <= {0, 1, 2}
    return float(images[covers > 0].mean() - images[covers == 0].mean())


@pytest.mark.parametrize("epsilon", [None, 8.0])
def test_a_cosine_model_draws_masks_that_fit_their_images(epsilon: float | None, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"{{modality: imaging, name: x, model: {{kind: cosine, network: {{size: {SIDE}}}}}}}")
    privacy = Privacy(epsilon, None if epsilon is None else 1e-4, tmp_path / "ledger.jsonl")
    out = tmp_path / "out.safetensors"
    card = train("imaging", folder(tmp_path / "d", 900), out, privacy, config=str(config))
    assert [one["label"] for one in card.model["mask_labels"]] == ["lung", "nodule"]
    records = drawn(out, 40)
    assert contrast(records) > 400
    assert records[0].facts["mask_labels"][0] == {"label": "lung", "codes": {"snomed": "39607008"}}
    if epsilon is not None:  # both in one vector: the releases are those of images alone
        entries = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
        assert card.privacy != "public"
        assert len(entries) == 2


def test_a_flow_draws_masks_with_its_images_and_begins_from_its_own_kind_alone(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", 60)
    config, out = tmp_path / "c.yaml", tmp_path / "out.safetensors"
    said = {"network": NETWORK, "training": {"steps": 30, "batch_size": 16}}
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "x", "model": said}))
    train("imaging", place, out, Privacy(None), config=str(config))
    assert contrast(drawn(out, 24)) > 300  # the principal components alone know where the disc is
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump({"modality": "imaging", "name": "x", "model": {**said, "masks": False}}))
    for privacy in (Privacy(None), Privacy(8.0, 1e-4, tmp_path / "ledger.jsonl")):
        with pytest.raises(
            InputError, match="expected weights that draw no masks, got masks of lung, nodule"
        ):
            train("imaging", place, tmp_path / "b.safetensors", privacy, config=str(alone), init=str(out))
    plain = tmp_path / "plain.safetensors"
    train("imaging", place, plain, Privacy(None), config=str(alone))
    assert "mask" not in drawn(plain, 1)[0].arrays
    with pytest.raises(InputError, match="expected weights that draw masks of lung, nodule, got none"):
        train(
            "imaging", place, tmp_path / "b.safetensors", Privacy(8.0, 1e-4, tmp_path / "ledger.jsonl"),
            config=str(config), init=str(plain),
        )  # fmt: skip
    assert not (tmp_path / "ledger.jsonl").exists()  # nothing was charged
