"""`--use NAME=FILE`: weights that the user names draw, are known to whoever reads the cohort, and are checked."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

import polyclinic as pc
from polyclinic.app.engines.generation import make
from polyclinic.app.engines.job import Job
from polyclinic.app.engines.use import recorded, using
from polyclinic.app.governance.release import resample
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.remarks import DataWarning
from polyclinic.core.training import weights

HOURS = 6
MODEL = {"kind": "vitals", "network": {"hours": HOURS, "width": 8, "head": 4, "embed": 4},
         "training": {"steps": 2, "batch_size": 4}}  # fmt: skip


@pytest.fixture(scope="module")
def vitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of six-hour stays that declare delirium; no folder of weights holds them."""
    place = tmp_path_factory.mktemp("use")
    series = [
        {"patient_id": f"s{i}", "hour": hour, "HR": 70 + 30 * (i % 2), "O2Sat": 97, "Temp": 37, "SBP": 120, "MAP": 83,
         "DBP": 65, "Resp": 16}
        for i in range(20)
        for hour in range(1, HOURS + 1)
    ]  # fmt: skip
    rows = [{"record": f"s{i}", "patient_id": f"s{i}", "delirium": i % 2} for i in range(20)]
    (data := place / "data").mkdir()
    pd.DataFrame(series).to_parquet(data / "series.parquet")
    pd.DataFrame(rows).to_csv(data / "patients.csv", index=False)
    described = {
        "name": "made up", "licence": "CC0", "split": None,
        "declare": {"delirium": {"kind": "flag", "label": "Delirium"}},
        "options": {"kind": "vitals", "hours": HOURS},
    }  # fmt: skip
    (data / "dataset.yaml").write_text(yaml.safe_dump(described))
    config = {"modality": "signals", "name": "vitals", "model": MODEL}
    (place / "tiny.yaml").write_text(yaml.safe_dump(config))
    out = place / "anything.safetensors"
    return pc.train(
        "signals", data, out, public=True, config=str(place / "tiny.yaml"), precision="32-true"
    ).path


def draw(out: Path, **how: object) -> pc.Cohort:
    settings: dict[str, object] = {"modalities": ["signals"], "workers": 1, "seed": 1, **how}
    return pc.generate_cohort("adults", out=out, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cohort(vitals: Path, tmp_path_factory: pytest.TempPathFactory) -> pc.Cohort:
    """Three patients drawn by what the weights alone declare."""
    return draw(
        tmp_path_factory.mktemp("drawn") / "c", fields="delirium: 1 yes, 2 no", use={"vitals": vitals}
    )


def test_named_weights_draw_and_their_fields_are_known(cohort: pc.Cohort, vitals: Path) -> None:
    assert cohort.vitals().groupby(level="patient_id").size().max() == HOURS
    labels = pd.read_csv(cohort.folder / "wfdb" / "labels.csv").drop_duplicates("patient_id")
    assert sorted(labels["delirium"]) == ["no", "no", "yes"]
    manifest = json.loads((cohort.folder / "manifest.json").read_text())
    assert manifest["weights"]["vitals"] == weights.digest(vitals)
    assert (cohort.folder / manifest["use"]["vitals"]).resolve() == vitals
    assert not Path(manifest["use"]["vitals"]).is_absolute()
    assert weights.find("vitals") != vitals  # in force for that cohort alone


def test_records_in_memory_come_from_named_weights(vitals: Path) -> None:
    patients = pc.generate("adults", ["signals"], patients=1, use={"vitals": vitals})
    assert len(next(patients).records["signals"].arrays["vitals"]) == HOURS


def test_workers_and_a_resume_have_the_same_weights_wherever_they_lie(
    vitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyclinic.app.engines.generation.run", lambda *_: None)  # interrupted at once
    with using({"vitals": vitals}, ["signals"]):
        begun = make(Population.load("adults"), 3, 1, tmp_path / "c", modalities=["signals"])
    monkeypatch.undo()
    with begun.writing():
        worker = pickle.loads(pickle.dumps(Job(begun.folder, 16)))
        assert worker.write(0) == 0  # with nothing but the manifest to go by
    with pytest.raises(pc.InputError, match=r"cannot resume, weights\.vitals is"):
        draw(tmp_path / "c", patients=3, resume=True)
    moved = shutil.copy(vitals, tmp_path / "moved.safetensors")
    done = draw(tmp_path / "c", patients=3, resume=True, use={"vitals": moved})
    assert done.on_disk.complete
    assert done.vitals().groupby(level="patient_id").size().max() == HOURS
    assert done.on_disk.manifest["use"] == {"vitals": "../moved.safetensors"}


def test_a_release_draws_again_from_the_same_weights(cohort: pc.Cohort, vitals: Path, tmp_path: Path) -> None:
    again = resample(cohort.on_disk, tmp_path / "again", {"signals": 1}, 2, workers=1)
    assert again.manifest["weights"] == cohort.on_disk.manifest["weights"]
    assert recorded(again) == {"vitals": vitals}


def test_weights_that_are_gone_are_remarked(cohort: pc.Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "c"
    shutil.copytree(cohort.folder, folder)
    with pytest.warns(DataWarning, match="the weights vitals that it was drawn with are no longer"):
        assert recorded(Cohort.open(folder)) == {}


def shipped(name: str) -> Callable[[Path], Path]:
    return lambda place: weights.find(name)


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("vitals", lambda place: place / "none", "no such file; expected weights that"),
        ("vitals", lambda place: place, "no such file; expected weights that"),
        ("vitals", lambda place: Path(__file__), "not a Polyclinic weight file"),
        ("vitals", shipped("imaging"), "expected weights of signals, got weights of imaging"),
        ("vitals", shipped("ecg"), "kind autoregressive GRU or Gaussian copula of stays, got Gaussian copula of time"),
        ("imaging", shipped("imaging"), "reads weights of that name; expected one of: ecg, vitals"),
    ],
)  # fmt: skip
def test_bad_weights_are_refused_before_anything_is_written(
    name: str, file: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(pc.InputError, match=message):
        draw(tmp_path / "c", patients=3, use={name: file(tmp_path)})
    assert not (tmp_path / "c").exists()


def test_a_file_is_named_with_its_weights() -> None:
    with pytest.raises(pc.InputError, match=r"use: expected \{name: file\}"):
        draw(Path("never"), patients=3, use="vitals.safetensors")
