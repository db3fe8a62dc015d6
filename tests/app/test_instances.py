"""Instances: `imaging:skin` beside `imaging`, each with its weights, from the drawing to the report."""

import csv
import hashlib
import json
import pickle
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import polyclinic as pc
from polyclinic.app.cli import app as cli
from polyclinic.app.engines.generation import make
from polyclinic.app.engines.job import Job, chosen_of
from polyclinic.app.engines.use import recorded, using
from polyclinic.app.governance.release import resample
from polyclinic.app.governance.verification import read_watermark
from polyclinic.app.references import References, parse
from polyclinic.app.stream.ward import WardRequest, ward_of_cohort
from polyclinic.conditioning.population import Population
from polyclinic.core.capabilities import CAPABILITIES, ClinicalRules, by_default
from polyclinic.core.cohort.watermark import Mark
from polyclinic.core.instance_name import LONGEST, split
from polyclinic.core.modality import Batch
from polyclinic.core.profile import PatientProfile
from polyclinic.core.registry import load_modality, sound
from polyclinic.core.remarks import DataWarning
from polyclinic.core.training import weights
from polyclinic.eval.linkage.linkage import linkage
from polyclinic.modalities.records.metrics import check_references

PATIENTS, SIZE = 24, 32
MODEL = {"kind": "cosine", "network": {"size": SIZE}}
MELANOMA = {"melanoma": {"kind": "flag", "label": "Melanoma", "codes": {"icd10cm": "C43.9"}}}
COHORT = {
    "name": "dermatology",
    "index_date": {"first": "2024-01-01", "last": "2024-12-31"},
    "age": {"mean": 60, "sd": 10},
    "conditions": {"J90": {"share": 0.5}},
    "declare": MELANOMA,
    "fields": {"melanoma": {"share": 0.5}},
    "options": {"imaging:skin": {"compression": "rle"}},
}
SHOWS = {
    "skin": {"iod": "DMS", "body_part": "SKIN", "extent_mm": 20},
    "chest": {"iod": "DX", "body_part": "CHEST", "extent_mm": 350},
}
OTHERS = ("ecg:holter", "vitals:labs", "omics:second")  # on the weights that ship


def pictures(folder: Path, name: str) -> Path:
    """A training folder: in colour with melanoma, or grey without."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    folder.mkdir(parents=True)
    with (folder / "patients.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["patient_id", "image", "sex", "melanoma", "split"])
        for i in range(160):
            spot = np.exp(-(x**2 + y**2) / (0.6 if i % 2 else 0.2) ** 2) * rng.uniform(0.5, 0.9)
            pixels = np.array([220, 160, 150]) * (1 - spot)[..., None] + 4 * rng.normal(size=(SIZE, SIZE, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            (image if name == "skin" else image.convert("L")).save(folder / f"{i}.png")
            rows.writerow([f"P{i}", f"{i}.png", "FM"[(i // 2) % 2], i % 2, "test" if i >= 120 else "train"])
    described = {
        "name": name, "table": "patients.csv", "record": "image", "fields": {"sex": {"column": "sex"}},
        "options": {"modality": "imaging", "shows": SHOWS[name]},
        **({"declare": MELANOMA} if name == "skin" else {}),
    }  # fmt: skip
    (folder / "dataset.yaml").write_text(yaml.safe_dump(described))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `chest` and `skin` of real images, and weights learnt from each."""
    folder = tmp_path_factory.mktemp("instances")
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump({"modality": "imaging", "name": "tiny", "model": MODEL}))
    for name in SHOWS:
        data = pictures(folder / name, name)
        pc.train("imaging", data, folder / f"{name}.safetensors", public=True, config=str(config))
    (folder / "cohort.yaml").write_text(yaml.safe_dump(COHORT))
    return folder


def draw(place: Path, out: Path, patients: int = PATIENTS, **how: Any) -> pc.Cohort:
    settings: dict[str, Any] = {"seed": 7, "workers": 1, "use": use(place), **how}
    return pc.generate_cohort(str(place / "cohort.yaml"), patients, out=out, **settings)


def use(place: Path) -> dict[str, Path]:
    """Chest images and a second set, of skin."""
    return {"imaging": place / "chest.safetensors", "imaging:skin": place / "skin.safetensors"}


@pytest.fixture(scope="module")
def cohort(place: Path) -> pc.Cohort:
    """Two sets of images and the health record."""
    return draw(place, place / "c", modalities=["imaging", "imaging:skin", "records"])


@pytest.fixture(scope="module")
def full(place: Path) -> pc.Cohort:
    """Everything that is installed, and an instance of each of it; few patients, half of whom have breast cancer."""
    more = {name: weights.find(name.partition(":")[0]) for name in OTHERS}
    changed = {**COHORT, "name": "full", "conditions": {"C50.919": {"share": 0.5}}, "pam50": {"LumA": 1}}
    (place / "full.yaml").write_text(yaml.safe_dump(changed))
    return pc.generate_cohort(
        str(place / "full.yaml"), 6, out=place / "full", seed=1, workers=1, use={**use(place), **more}
    )


def tree(folder: Path) -> dict[str, str]:
    """Hash of each file, by path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# -- names


@pytest.mark.parametrize("label", ["skin", "2", "a-b", "x" * LONGEST])
def test_a_name_has_a_base_and_a_label(label: str) -> None:
    assert split(f"imaging:{label}") == ("imaging", label)
    assert split("imaging") == ("imaging", "")


@pytest.mark.parametrize(
    "label", ["", "Skin", "-a", "a/b", "..", "a:b", "a b", "a_b", "\u00e4", "x" * (LONGEST + 1)]
)
def test_what_could_be_no_folder_or_id_is_no_label(label: str) -> None:
    with pytest.raises(pc.InputError, match=r"expected NAME:INSTANCE, as imaging:skin"):
        split(f"imaging:{label}")


@pytest.mark.parametrize("name", ["imaging", "signals", "omics", "records"])
def test_an_instance_can_do_what_its_modality_can(name: str) -> None:
    plain, other = load_modality(name), load_modality(f"{name}:other")
    assert [isinstance(other, able) for able in CAPABILITIES] == [
        isinstance(plain, able) for able in CAPABILITIES
    ]
    assert (other.name, other.shared, other.after) == (f"{name}:other", plain.shared, plain.after)


# -- a cohort on disk


def test_the_second_set_leaves_the_first_as_it_is(place: Path, cohort: pc.Cohort, tmp_path: Path) -> None:
    alone = draw(
        place, tmp_path / "c", modalities=["imaging"], use={"imaging": place / "chest.safetensors"}
    ).folder
    ours, theirs = tree(alone / "dicom"), tree(cohort.folder / "dicom")
    assert ours == theirs
    assert len(ours) == PATIENTS + 1  # and labels.csv


def test_each_set_has_its_folder_its_labels_and_its_rows(place: Path, cohort: pc.Cohort) -> None:
    manifest = cohort.on_disk.manifest
    assert cohort.modalities == ("imaging", "imaging:skin", "records")
    assert manifest["modalities"]["imaging:skin"]["weights"] == ["imaging:skin"]
    assert "Skin photograph (dermoscopy)" in manifest["modalities"]["imaging:skin"]["indication"]
    assert manifest["weights"]["imaging:skin"] == weights.digest(place / "skin.safetensors")
    assert manifest["use"]["imaging:skin"] == "../skin.safetensors"
    assert cohort.patients["has_imaging:skin"].all()
    assert cohort.on_disk.verify() == []
    for folder in ("dicom", "imaging-skin"):
        labels = pd.read_csv(cohort.folder / folder / "labels.csv").set_index("patient_id")
        assert len(labels) == PATIENTS
        assert all((cohort.folder / folder / file).is_file() for file in labels["file"])
        said = labels["melanoma"] == "yes"
        assert (said == cohort.patients["melanoma"]).all()
        assert 0 < said.sum() < PATIENTS
    first, second = (
        pydicom.dcmread(next((cohort.folder / folder).glob("**/*.dcm")))
        for folder in ("dicom", "imaging-skin")
    )
    assert (first.SamplesPerPixel, second.SamplesPerPixel) == (1, 3)
    assert second.file_meta.TransferSyntaxUID.name == "RLE Lossless"  # the options of the cohort YAML
    assert not {first.StudyInstanceUID, first.SOPInstanceUID} & {
        second.StudyInstanceUID,
        second.SOPInstanceUID,
    }


def test_sets_of_the_same_weights_differ(place: Path, tmp_path: Path) -> None:
    skin = place / "skin.safetensors"
    drawn = draw(
        place,
        tmp_path / "c",
        2,
        use={"imaging:a": skin, "imaging:b": skin},
        modalities=["imaging:a", "imaging:b"],
    )
    for (_, one), (_, other) in zip(drawn.images("a"), drawn.images("b"), strict=True):
        assert (one != other).mean() > 0.5
    files = [path.name for path in drawn.folder.rglob("*.dcm")]
    assert len(set(files)) == len(files) == 4


def test_bytes_depend_neither_on_workers_nor_on_an_interruption(
    place: Path, cohort: pc.Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["imaging", "imaging:skin", "records"]
    monkeypatch.setattr("polyclinic.app.engines.generation.run", lambda *_: None)  # interrupted at once
    folder = place / "resumed"  # beside the other, so that the weights lie at the same place
    with using(use(place), names):
        begun = make(Population.load(str(place / "cohort.yaml")), PATIENTS, 7, folder, modalities=names)
    monkeypatch.undo()
    with begun.writing():
        worker = pickle.loads(pickle.dumps(Job(begun.folder, 5)))
        assert worker.write(1) == 1  # with nothing but the manifest to go by
    with pytest.raises(pc.InputError, match=r"cannot resume, weights\.imaging:skin is '"):
        draw(place, folder, modalities=names, resume=True, use={"imaging": place / "chest.safetensors"})
    draw(place, folder, modalities=names, resume=True)
    assert tree(folder) == tree(cohort.folder)


def test_health_records_state_both_images(cohort: pc.Cohort) -> None:
    studies = list(cohort.fhir("ImagingStudy"))
    assert [study["modality"][0]["code"] for study in studies] == ["DX", "DMS"] * PATIENTS
    assert len({study["identifier"][0]["value"] for study in studies}) == 2 * PATIENTS
    assert studies[1]["id"] == f"{cohort.patients.index[0]}-imaging-skin"
    assert check_references(cohort.folder) == []


def test_other_forms_of_the_health_record_name_the_files(cohort: pc.Cohort, tmp_path: Path) -> None:
    pc.convert(cohort, "meds", out=tmp_path / "meds")
    events = pd.concat(map(pd.read_parquet, (tmp_path / "meds").rglob("data/**/*.parquet")))
    with pytest.warns(DataWarning, match="no standard concept id"):
        pc.convert(cohort, "omop", out=tmp_path / "omop")
    [file] = (tmp_path / "omop").rglob("image_occurrence.*")
    rows = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    for paths in (events["image_path"].dropna(), rows["local_path"]):
        assert len(paths) == 2 * PATIENTS
        assert all((cohort.folder / path).is_dir() for path in paths)


def test_instances_of_every_modality_agree_with_each_other(full: pc.Cohort) -> None:
    found = [
        *by_default(sound("modalities")),
        "imaging:skin",
        "omics:second",
        "signals:holter",
        "signals:labs",
    ]
    assert full.modalities == tuple(sorted(found))
    homes = ("imaging-skin/dicom", "signals-holter/wfdb", "signals-labs/wfdb", "omics-second/omics")
    assert all((full.folder / home).is_dir() for home in homes)
    assert check_references(full.folder) == []
    with weights.using(recorded(full.on_disk)):
        chosen = chosen_of(full.on_disk)
        link = linkage(full.on_disk, chosen, [])
    assert link.contradictions == []
    said = {own.subject: own.sources for own in link.consistency_by_subject if own.source is None}
    assert {"DICOM tags", "DICOM tags (skin)", "ECG header", "ECG header (holter)"} <= set(said["sex"])
    assert said["UIDs of the image (skin)"] == ("DICOM tags (skin)", "FHIR ImagingStudy")
    (records,) = (m for m in chosen if isinstance(m, ClinicalRules))
    assert [b for p in full.on_disk.records(records) for b in records.breaches(p.records["records"])] == []


def test_an_instance_of_signals_has_what_it_has_weights_of(full: pc.Cohort) -> None:
    assert sum(1 for _ in full.ecgs("holter")) == sum(1 for _ in full.ecgs()) == 6
    assert not list(full.ecgs("labs"))
    assert full.vitals("labs").shape[1] == 7
    assert not full.vitals("labs").equals(full.vitals())
    with pytest.raises(pc.InputError, match="the records of signals:holter have no vitals"):
        full.vitals("holter")
    assert full.omics("rna", "second").shape == full.omics("rna").shape
    labels = pd.read_csv(full.folder / "omics-second" / "labels.csv")
    assert set(labels["file"]) == {"omics/meth.zarr", "omics/mirna.zarr", "omics/rna.zarr"}
    ward = ward_of_cohort(full.folder, WardRequest(modality="signals:holter"))
    assert {tuple(bed.source.signals) for bed in ward.beds} == {("ecg",)}


def test_one_set_is_drawn_again_without_the_other(cohort: pc.Cohort, place: Path, tmp_path: Path) -> None:
    again = resample(cohort.on_disk, tmp_path / "again", {"imaging:skin": 1}, 2, workers=1)
    assert tree(again.folder / "dicom") == tree(cohort.folder / "dicom")
    assert not set(tree(again.folder / "imaging-skin").values()) & set(
        value for name, value in tree(cohort.folder / "imaging-skin").items() if name.endswith(".dcm")
    )


def test_records_of_an_instance_carry_a_watermark(place: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    mark = Mark.new(key)
    skin = {"imaging:skin": place / "skin.safetensors"}
    for watermark in (key, None):
        out = tmp_path / f"marked {watermark is not None}"
        drawn = draw(place, out, 4, modalities=["imaging:skin"], use=skin, watermark=watermark)
        assert read_watermark(drawn.on_disk, mark).found == (watermark is not None)


def test_an_id_has_room_for_the_name_or_says_so() -> None:
    profile = PatientProfile("P" * 32, age=60, sex="F", index_date=date(2024, 1, 1))
    facts = {"heart_rate": 70.0, "rhythm": "sinus", "instance": "x" * LONGEST}
    batch = Batch((profile,), np.zeros((1, 0), np.float32), (1,), ({"signals:other": facts},))
    ids = [r["id"] for r in load_modality("records").generator(()).sample(batch)[0].facts["resources"]]
    assert f"{'P' * 32}-ecg-heart-rate-{'x' * LONGEST}" in ids
    tumour = {"pam50": "LumA", "instance": "x" * LONGEST}
    batch = Batch((profile,), np.zeros((1, 0), np.float32), (1,), ({"omics:other": tumour},))
    with pytest.raises(
        pc.InputError, match="a FHIR id has at most 64 characters, got 74; shorten the instance's name"
    ):
        load_modality("records").generator(()).sample(batch)


# -- Python


def test_arrays_are_asked_for_by_the_name_of_the_instance(cohort: pc.Cohort) -> None:
    grey, colour = next(cohort.images())[1], next(cohort.images("skin"))[1]
    assert (grey.shape, colour.shape) == ((SIZE, SIZE), (SIZE, SIZE, 3))
    item = pickle.loads(pickle.dumps(cohort.dataset(["image", "image:skin"])))[0]
    np.testing.assert_array_equal(item["image:skin"].numpy(), colour)
    np.testing.assert_array_equal(item["image"].numpy().astype(grey.dtype), grey)
    with pytest.raises(
        pc.InputError, match=r"has no imaging:eye; expected one of: imaging, imaging:skin, records"
    ):
        next(cohort.images("eye"))


def test_records_in_memory_are_those_of_the_files(place: Path, cohort: pc.Cohort) -> None:
    population = Population.load(str(place / "cohort.yaml"))
    skin = {"imaging:skin": place / "skin.safetensors"}
    patients = pc.generate(population.draw(1, 7), ["imaging:skin"], seed=7, use=skin)
    drawn = next(patients).records["imaging:skin"]
    assert drawn.facts["instance"] == "skin"
    np.testing.assert_array_equal(drawn.arrays["image"], next(cohort.images("skin"))[1])


def test_a_folder_of_weights_has_instances_that_are_drawn_where_they_are_named(
    place: Path, cohort: pc.Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(place / "skin.safetensors", tmp_path / "imaging-skin.safetensors")
    shutil.copy(place / "chest.safetensors", tmp_path / "imaging.safetensors")
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(tmp_path))
    drawn = draw(place, tmp_path / "c", 2, use=None, modalities=["imaging:skin"])
    first = [next(own.images("skin"))[1] for own in (drawn, cohort)]
    np.testing.assert_array_equal(*first)
    assert "imaging:skin" not in {m.name for m in sound("modalities").values()}


# -- what is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--use", "imaging:skin=none"], "--use imaging:skin: .*none: no such file"),
        (["--use", "imaging:Skin={skin}"], "'imaging:Skin': expected NAME:INSTANCE"),
        (["--use", "imaging:../x={skin}"], "'imaging:../x': expected NAME:INSTANCE"),
        (["--use", "lungs:skin={skin}"], "no modality reads weights lungs; expected one of: ecg:skin"),
        (["--use", "vitals:skin={skin}"], "expected weights of signals, got weights of imaging"),
        (["--use", "imaging:a={skin}", "--use", "imaging:a={chest}"], "given twice"),
        (["--use", "imaging:a={skin}", "--modalities", "imaging"], "no modality drawn here reads"),
        (["--modalities", "imaging:eye"], "there are no weights imaging:eye; name them"),
        (["--modalities", "imaging:skn"], "weights imaging:skn; did you mean imaging:skin\\? Else name"),
        (["--modalities", "imaging:skin", "--fields", "melanom: 2 yes"], "did you mean 'melanoma'\\? Else name them"),
        (["--modalities", "records:two"], "records has no weights, so it has no instances"),
        (["--modalities", "lungs:skin"], "modality 'lungs' is not installed"),
    ],
)  # fmt: skip
def test_a_bad_instance_is_one_line_before_anything_is_written(
    given: list[str], message: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from polyclinic.app import cli as command

    arguments = [text.format(**{name: place / f"{name}.safetensors" for name in SHOWS}) for text in given]
    monkeypatch.setattr(
        "sys.argv", ["polyclinic", "generate", "--patients", "2", "--out", str(tmp_path / "c"), *arguments]
    )
    with pytest.raises(SystemExit) as ended:
        command.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1
    assert re.search(message, said)
    assert not (tmp_path / "c").exists()


def test_weights_are_trained_for_the_modality(place: Path, tmp_path: Path) -> None:
    with pytest.raises(
        pc.InputError, match="imaging:skin: train imaging; weights are named an instance where"
    ):
        pc.train("imaging:skin", place / "skin", tmp_path / "w.safetensors", public=True)


# -- judged


def test_each_set_is_held_against_the_data_that_it_was_learnt_from(
    place: Path, cohort: pc.Cohort, tmp_path: Path
) -> None:
    found = CliRunner().invoke(
        cli,
        ["evaluate", str(cohort.folder), "--reference", str(place / "skin"), "--reference", str(place / "chest"),
         "--out", str(tmp_path / "report"), "--quick"],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    views = {view["view"]: view for view in scores["views"]}
    assert {name: view["modality"] for name, view in views.items()} == {
        "xray": "imaging",
        "image:skin": "imaging:skin",
    }
    assert views["image:skin"]["title"] == "Skin photograph (dermoscopy) (skin)"
    for view in views.values():
        distances = [score for score in view["scores"] if score["question"] == "distance"]
        assert {score["status"] for score in distances} == {"measured"}
    melanoma = [score["task"] for score in views["image:skin"]["scores"] if score["task"] == "Melanoma"]
    assert melanoma
    assert scores["linkage"]["contradictions"] == []
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["skin"], {"imaging:skin": ["skin"]}),
        (["chest"], {"imaging": ["chest"]}),
        (["other"], {"imaging": ["other"]}),
        (["chest", "skin"], {"imaging": ["chest"], "imaging:skin": ["skin"]}),
        (["imaging:skin=other"], {"imaging:skin": ["other"]}),
        (["imaging:skin=other", "skin", "chest"], {"imaging:skin": ["other"], "imaging": ["chest"]}),
    ],
)
def test_a_reference_goes_to_who_learnt_from_it_or_to_whom_it_is_given(
    given: list[str], expected: dict[str, list[str]], place: Path, cohort: pc.Cohort
) -> None:
    if not (place / "other").exists():
        shutil.copytree(place / "skin", place / "other")
        described = (place / "other" / "dataset.yaml").read_text().replace("name: skin", "name: other")
        (place / "other" / "dataset.yaml").write_text(described)
    texts = [re.sub(r"(\w+)$", rf"{place}/\1", text) for text in given]
    asked = parse(texts)
    assert asked is not None
    with weights.using(recorded(cohort.on_disk)):
        found = References.load(asked).of(chosen_of(cohort.on_disk))
    assert {name: [train.source.name for train, _ in pairs] for name, pairs in found.items()} == expected


def test_an_instance_alone_gets_what_it_was_learnt_from_or_else_whatever_there_is(place: Path) -> None:
    with using({"imaging:skin": place / "skin.safetensors"}, ["imaging:skin"]):
        alone = [load_modality("imaging:skin")]
        with pytest.warns(DataWarning, match="reference chest: left out, imaging:skin not being learnt from"):
            both = References.load([place / "chest", place / "skin"]).of(alone)
        other = References.load(place / "chest").of(alone)
        shipped = References(
            {}, {"imaging": References.load(place / "chest").others["imaging"]}, frozenset({"chest"})
        )
        with pytest.warns(DataWarning, match="reference chest: left out, imaging:skin not being learnt from"):
            assert shipped.of(alone) == {}  # chest X-rays that the configurations name say nothing of skin
    assert [train.source.name for train, _ in both["imaging:skin"]] == ["skin"]
    assert [train.source.name for train, _ in other["imaging:skin"]] == ["chest"]
    with using({"imaging:a": place / "skin.safetensors", "imaging:b": place / "skin.safetensors"}):
        several = [load_modality(name) for name in ("imaging:a", "imaging:b")]
        with pytest.warns(DataWarning, match="reference chest: left out, imaging:a and imaging:b not being"):
            assert References.load(place / "chest").of(several) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"imaging:eye": "skin"}, "reference imaging:eye: the cohort has imaging, imaging:skin, records"),
        ({"signals": "skin"}, "expected reference data of signals, got those of imaging"),
        ({"imaging:Eye": "skin"}, "expected NAME:INSTANCE"),
    ],
)
def test_a_reference_for_nobody_is_refused(
    given: dict[str, str], message: str, place: Path, cohort: pc.Cohort, tmp_path: Path
) -> None:
    folders = {name: place / folder for name, folder in given.items()}
    with pytest.raises(pc.InputError, match=message):
        pc.evaluate(cohort, folders, tmp_path / "report")
