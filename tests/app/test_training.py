"""`polyclinic train` on made-up folders, a few steps each: every kind of model learns, saves and draws again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
import yaml
from PIL import Image

from polyclinic import Batch, PatientProfile, ProfileEncoder, load_modality
from polyclinic.app.training import Privacy, read_config, shipped_model, train, weight_file
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import BudgetExceeded, InputError
from polyclinic.core.remarks import DataWarning
from polyclinic.core.training import weights
from polyclinic.core.training.weights import read_card
from polyclinic.modalities.imaging import private_training

SEX = {"column": "sex"}
AGE = {"column": "age"}


def folder(
    place: Path, rows: list[dict[str, object]], fields: dict[str, object], options: dict[str, object]
) -> Path:
    """A training folder: patients.csv and dataset.yaml; the files are the caller's."""
    place.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(place / "patients.csv", index=False)
    described = {"name": "made up", "licence": "CC0", "split": None, "fields": fields, "options": options}
    (place / "dataset.yaml").write_text(yaml.safe_dump(described))
    return place


def images(place: Path, patients: int = 12) -> Path:
    """Bright squares whose side follows effusion; two images of each patient."""
    place.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for i in range(2 * patients):
        picture = rng.integers(0, 60, (16, 16), dtype=np.uint8)
        picture[: 8 + 4 * (i % 2), :8] = 220
        Image.fromarray(picture).save(place / f"{i}.png")
        rows.append(
            {
                "record": f"{i}.png",
                "patient_id": i // 2,
                "age": 40 + i,
                "sex": "FM"[i % 2],
                "labels": "Effusion" * (i % 2),
            }
        )
    fields = {"age": AGE, "sex": SEX, "J90": {"column": "labels", "pattern": "Effusion"}}
    return folder(place, rows, fields, {"modality": "imaging", "shows": {"body_part": "CHEST"}})


def ecgs(place: Path) -> Path:
    """A train of spikes in 12 leads, at 60 to 90 a minute."""
    place.mkdir()
    time = np.arange(5000) / 500
    rows = []
    for i in range(6):
        beat = np.zeros(5000)
        for at in np.arange(0.3, 10, 60 / (60 + 6 * i)):
            beat += np.exp(-0.5 * ((time - at) / 0.012) ** 2) + 0.2 * np.exp(
                -0.5 * ((time - at - 0.25) / 0.04) ** 2
            )
        one, two = np.rint(800 * beat).astype(int), np.rint(1000 * beat).astype(int)
        limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
        steps = np.stack([*limb, *(np.rint(k * 300 * beat).astype(int) for k in range(1, 7))], axis=1)
        names = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]
        wfdb.wrsamp(
            f"r{i}", 500, ["mV"] * 12, names, d_signal=steps, fmt=["16"] * 12,
            adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(place),
        )  # fmt: skip
        rows.append({"record": f"r{i}", "patient_id": i, "age": 50 + i, "sex": "F"})
    return folder(place, rows, {"age": AGE, "sex": SEX}, {"kind": "ecg"})


def vitals(place: Path) -> Path:
    """Constant patients, half of it missing."""
    place.mkdir()
    rng = np.random.default_rng(0)
    rows, series = [], []
    for i in range(20):
        rows.append({"record": f"s{i}", "patient_id": f"s{i}", "age": 60, "sex": "M"})
        for hour in range(6):
            row = {"HR": 70 + i, "O2Sat": 97, "Temp": 37, "SBP": 120, "MAP": 83, "DBP": 65, "Resp": 16}
            shown = {k: (v if rng.random() < 0.5 else np.nan) for k, v in row.items()}
            series.append({"patient_id": f"s{i}", "hour": hour + 1, **shown})
    pd.DataFrame(series).to_parquet(place / "series.parquet")
    return folder(place, rows, {"age": AGE, "sex": SEX}, {"kind": "vitals", "hours": 6})


def tumours(place: Path) -> Path:
    """Twenty genes of which the first follows the subtype."""
    place.mkdir()
    rng = np.random.default_rng(0)
    rows = [
        {"record": f"t{i}", "patient_id": f"t{i}", "age": 60, "pam50": ("LumA", "Basal")[i % 2]}
        for i in range(80)
    ]
    table = pd.DataFrame(rng.normal(8, 1, (80, 20)), columns=[f"G{k}_{k}" for k in range(20)])
    table["G0_0"] += 4 * (np.arange(80) % 2)
    table.insert(0, "patient", [row["record"] for row in rows])
    table.to_csv(place / "rna.csv.gz", index=False)
    return folder(
        place,
        rows,
        {"age": AGE, "pam50": {"column": "pam50"}},
        {"assays": {"rna": "rna.csv.gz"}, "key": "patient"},
    )


NET = {
    "size": 16,
    "patch_size": 2,
    "widths": [16, 32],
    "layers": 1,
    "attention": [False, True],
    "head": 16,
    "components": 4,
}
MODELS: dict[str, dict[str, object]] = {
    "imaging": {"network": NET, "training": {"steps": 3, "batch_size": 8, "patients_per_step": 4}},
    "ecg": {"kind": "ecg", "network": {"p": 1, "qrs": 2, "t": 1, "noise": 1}},
    "vitals": {
        "kind": "vitals",
        "network": {"hours": 6, "width": 8, "head": 4, "embed": 4},
        "training": {"steps": 4, "batch_size": 4},
    },
    "omics": {
        "network": {"latent": 3, "width": 8, "factors": 2},
        "training": {"steps": 5, "batch_size": 16},
    },
}
MAKE: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "imaging": ("imaging", images),
    "ecg": ("signals", ecgs),
    "vitals": ("signals", vitals),
    "omics": ("omics", tumours),
}
PUBLIC = Privacy()


def learn(kind: str, tmp_path: Path, privacy: Privacy = PUBLIC, name: str = "out", **how: object) -> Path:
    """Train the small model of a kind; the weight file."""
    modality, make = MAKE[kind]
    data = tmp_path / "data"
    if not data.exists():
        make(data)
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"modality": modality, "name": kind, "model": MODELS[kind]}))
    out = tmp_path / name / f"{kind}.safetensors"
    out.parent.mkdir(exist_ok=True)
    settings = {"config": str(config), "accelerator": "cpu", "precision": "32-true", **how}
    train(modality, data, out, privacy, **settings)
    return out


@pytest.mark.parametrize("kind", MODELS)
def test_trains_and_tells_what_it_saw(kind: str, tmp_path: Path) -> None:
    card = read_card(learn(kind, tmp_path))
    assert card.name == kind
    assert card.privacy == "public"
    assert card.epsilon is None
    assert card.data[0].name == "made up"
    assert card.data[0].licence == "CC0"
    assert card.steps >= 3
    assert any(column.startswith("age") for column in card.columns)
    assert not any(column.startswith("creatinine") for column in card.columns)  # never seen, never used
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"{kind}.safetensors"
    ]  # nothing left over


def test_new_weights_are_drawn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(learn("imaging", tmp_path).parent))
    assert weights.find("imaging").parent == tmp_path / "out"
    encoder, profile = ProfileEncoder(), PatientProfile("p", age=50.0, sex="F")
    batch = Batch((profile,), encoder.encode([profile]), (1,))
    record = load_modality("imaging").generator(encoder.columns).sample(batch)[0]
    assert record.arrays["image"].shape == (16, 16)


def test_histograms_are_matched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "imaging", {**MODELS["imaging"], "histogram_matching": True})
    made = learn("imaging", tmp_path)
    assert any(name.startswith("finish.") for name in weights.load(made).tensors)
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(made.parent))
    encoder, profile = ProfileEncoder(), PatientProfile("p", age=50.0, sex="F")
    batch = Batch((profile,), encoder.encode([profile]), (1,))
    image = load_modality("imaging").generator(encoder.columns).sample(batch)[0].arrays["image"]
    assert image.shape == (16, 16)
    assert image.std() > 0


def test_histograms_are_matched_privately_for_a_share_of_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "imaging", {**MODELS["imaging"], "histogram_matching": True})
    monkeypatch.setattr(private_training, "DRAWS", 32)
    ledger = tmp_path / "ledger.jsonl"
    made = learn("imaging", tmp_path, Privacy(epsilon=8.0, delta=1e-2, ledger=ledger), name="private")
    purposes = [entry.purpose for entry in Ledger(ledger).entries()]
    assert purposes == ["imaging, spectrum and greys", "imaging, network"]
    assert Ledger(ledger).spent("made up", 1e-2, "prv") <= 8.0
    assert any(name.startswith("finish.") for name in weights.load(made).tensors)
    monkeypatch.setenv("POLYCLINIC_WEIGHTS", str(made.parent))
    encoder, profile = ProfileEncoder(), PatientProfile("p", age=50.0, sex="F")
    batch = Batch((profile,), encoder.encode([profile]), (1,))
    image = load_modality("imaging").generator(encoder.columns).sample(batch)[0].arrays["image"]
    assert image.std() > 0


@pytest.mark.parametrize("precision", [pytest.param("32-true", marks=pytest.mark.slow), "bf16-mixed"])
def test_private_training_pays_before_it_starts(precision: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    budget = Privacy(epsilon=8.0, delta=1e-2, ledger=ledger, limit=10.0)
    card = read_card(learn("imaging", tmp_path, budget, precision=precision))
    assert card.epsilon == pytest.approx(8, abs=0.4)
    assert "12 patients" in card.privacy  # not 24 images
    assert len(ledger.read_text().splitlines()) == 1
    with pytest.raises(BudgetExceeded):
        learn("imaging", tmp_path, budget, name="again")
    assert not list((tmp_path / "again").iterdir())
    assert len(ledger.read_text().splitlines()) == 1


def test_fine_tuning_keeps_what_was_learnt(tmp_path: Path) -> None:
    first = learn("imaging", tmp_path)
    second = learn("imaging", tmp_path, name="second", init=str(first))
    assert read_card(second).data == read_card(first).data  # one set, named once
    basis = [weights.load(path).tensors["basis"] for path in (first, second)]
    assert (basis[0] == basis[1]).all()


@pytest.mark.parametrize(
    ("kind", "network", "init", "line"),
    [
        ("imaging", {"size": 32, "widths": [16, 48]}, "", "--init imaging: expected a network of size 32, widths"),
        ("vitals", {"width": 16}, "", "--init vitals: vitals are learnt from scratch; leave --init out"),
        ("ecg", {"p": 2}, "", "--init ecg: public ECG weights are learnt from scratch; leave --init out"),
        ("omics", {"width": 16}, "", "--init omics: omics is learnt from scratch; leave --init out"),
        ("imaging", {}, "ecg", "--init ecg: expected weights of imaging, got weights of signals"),
        ("imaging", {}, "imaging_upsampler", "--init imaging_upsampler: expected weights of a flow-matching U-Net"),
    ],
)  # fmt: skip
def test_weights_to_start_from_that_do_not_fit_are_told_in_one_line(
    kind: str,
    network: dict[str, object],
    init: str,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = init or str(learn(kind, tmp_path))
    other = {**MODELS[kind], "network": {**MODELS[kind]["network"], **network}}  # type: ignore[dict-item]
    monkeypatch.setitem(MODELS, kind, other)
    with pytest.raises(InputError) as refused:
        learn(kind, tmp_path, name="other", init=start)
    said = str(refused.value)
    assert said.startswith(line)
    assert "(" not in said.replace("(model.network)", "").replace("(Gaussian copula", "").replace("(`", "")
    assert "leave --init out" in said or "polyclinic weights" in said
    if network.get("size"):
        assert "got size 16, widths [16, 32]; give the latter as model.network" in said


def test_a_private_ecg_keeps_the_network_it_starts_from(tmp_path: Path) -> None:
    private = Privacy(epsilon=8.0, delta=1e-2, ledger=tmp_path / "ledger.jsonl")
    with pytest.raises(
        InputError,
        match=r"--init ecg: expected a network of noise 1, p 1, .*, got noise 30, p 16, .*leave model.network out",
    ):
        learn("ecg", tmp_path, private, init="ecg")
    with pytest.raises(InputError, match=r"from public ECG weights, got vitals \(auto.*add --init ecg"):
        learn("ecg", tmp_path, private, init="vitals")
    assert not (tmp_path / "ledger.jsonl").exists()


@pytest.mark.parametrize(("said", "got"), [({}, "nothing"), ({"kind": "eeg"}, "'eeg'")])
@pytest.mark.parametrize("make", [ecgs, vitals])
def test_signals_of_no_kind_are_answered_with_both(
    make: Callable[[Path], Path], said: dict[str, str], got: str, tmp_path: Path
) -> None:
    data = make(tmp_path / "data")
    described = yaml.safe_load((data / "dataset.yaml").read_text())
    described["options"].pop("kind")
    described["options"] |= said
    (data / "dataset.yaml").write_text(yaml.safe_dump(described))
    with pytest.raises(InputError) as refused:
        train("signals", data, tmp_path / "w.safetensors", PUBLIC, accelerator="cpu")
    assert str(refused.value).startswith(
        f"made up: options.kind: expected ecg or vitals, got {got}; write `options"
    )


def test_signals_of_another_kind_than_the_model_are_refused(tmp_path: Path) -> None:
    vitals(tmp_path / "data")
    with pytest.raises(InputError, match=r"options\.kind: expected ecg, as model\.kind says, got vitals"):
        learn("ecg", tmp_path)


def test_a_killed_training_goes_on(tmp_path: Path) -> None:
    """Checkpoints that were asked for stay, and --resume starts from the newest."""
    checkpoints = tmp_path / "checkpoints"
    learn("imaging", tmp_path, checkpoints=checkpoints)
    assert list(checkpoints.rglob("*.ckpt"))
    card = read_card(learn("imaging", tmp_path, name="more", checkpoints=checkpoints, resume=True))
    assert card.steps == 3  # all steps were done already


@pytest.mark.parametrize(
    ("kind", "private", "named"),
    [
        ("imaging", False, "imaging"),
        ("imaging", True, "imaging_cosine"),
        ("ecg", False, "ecg"),
        ("ecg", True, "ecg"),
        ("vitals", False, "vitals"),
        ("vitals", True, "vitals_private"),
        ("omics", False, "omics"),
        ("omics", True, "omics_private"),
    ],
)
def test_without_a_config_the_shipped_model_that_fits_is_taken(
    kind: str, private: bool, named: str, tmp_path: Path
) -> None:
    modality, make = MAKE[kind]
    settings = read_config(modality, make(tmp_path / "data"), None, "mine", private)
    assert shipped_model(modality, settings.datasets[0], private) == (named, settings.model)
    assert settings.name == "mine"
    assert "shows" not in settings.model
    if kind == "vitals":
        assert settings.model["kind"] == "vitals"
        assert settings.model["network"]["hours"] == 6  # as the folder says
    if named == "imaging_private":
        assert settings.model["prior"] == {"rank": 128}  # pneumonia is a field of the shipped set alone
    if named == "omics_private":
        assert settings.model["steer"] == ["age", "pam50"]


@pytest.mark.parametrize(
    ("minutes", "init", "shows", "named"),
    [
        (6.0, False, {}, "imaging_cosine"),
        (60.0, False, {}, "imaging"),
        (None, False, {}, "imaging"),
        (6.0, True, {}, "imaging"),
        (6.0, False, {"slices": 8}, "imaging"),
    ],
)
def test_a_public_training_of_few_minutes_takes_the_images_model_without_steps(
    minutes: float | None, init: bool, shows: dict[str, int], named: str, tmp_path: Path
) -> None:
    modality, make = MAKE["imaging"]
    dataset = read_config(modality, make(tmp_path / "data"), None, "mine").datasets[0]
    dataset = dataset.model_copy(update={"options": {**dataset.options, "shows": shows}})
    assert shipped_model(modality, dataset, False, init, minutes)[0] == named


def test_init_by_name_takes_the_weights_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert weight_file("imaging_prior") == weights.find("imaging_prior")
    assert not capsys.readouterr().err
    for make, word in ((Path.mkdir, "folder"), (Path.touch, "file")):
        make(Path("imaging_prior"))
        assert weight_file("imaging_prior") == weights.find("imaging_prior")
        assert f"not the {word} imaging_prior" in capsys.readouterr().err
        Path("imaging_prior").rmdir() if word == "folder" else Path("imaging_prior").unlink()
    Path("mine").touch()
    assert weight_file("mine") == Path("mine")
    assert weight_file("mine.safetensors") == Path("mine.safetensors")


def test_a_training_that_the_minutes_end_keeps_its_checkpoints_until_resume_finishes_it(
    tmp_path: Path,
) -> None:
    with pytest.warns(DataWarning, match="ended by --max-minutes"):
        out = learn("omics", tmp_path, max_minutes=1e-6)
    card = read_card(out)
    assert 0 < card.steps < (card.planned_steps or 0) == 5
    assert not card.complete
    assert any("ended by --max-minutes" in line for line in card.reading)
    assert read_card(learn("omics", tmp_path, resume=True, overwrite=True)).complete
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_card_of_a_private_training_holds_no_counts_of_what_was_left_out(tmp_path: Path) -> None:
    data, names = tmp_path / "data", [f"p{i}" for i in range(300)]
    data.mkdir()
    pd.DataFrame({"patient_id": names, "age": 50, "split": "train"}).to_csv(
        data / "patients.csv", index=False
    )
    lactate = np.r_[99.0, np.linspace(1, 6, 299)]
    pd.DataFrame({"patient_id": names, "hour": 0, "Lactate": lactate}).to_parquet(data / "series.parquet")
    channels = {"Lactate": {"unit": "mmol/L", "range": [0, 30]}}
    described = {
        "name": "labs", "licence": "none", "table": "patients.csv", "record": "patient_id", "patient_id": "patient_id",
        "fields": {"age": {"column": "age"}}, "split": "split",
        "options": {"modality": "signals", "kind": "vitals", "hours": 4, "channels": channels},
    }  # fmt: skip
    (data / "dataset.yaml").write_text(yaml.safe_dump(described))
    private = Privacy(epsilon=8.0, delta=1e-4, ledger=tmp_path / "ledger.jsonl")
    with pytest.warns(DataWarning, match="1 readings of Lactate"):
        card = train("signals", data, tmp_path / "vitals.safetensors", private)
    assert card.epsilon is not None
    assert card.reading == []
