"""What the server tells of a patient is what the files say; nothing else of the machine is told."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette.testclient", reason="pip install httpx2")

from starlette.applications import Starlette
from starlette.testclient import TestClient

from polyclinic.app.viewer import patient_omics, patient_signals
from polyclinic.app.viewer.cohort_data import CohortData
from polyclinic.app.viewer.patient import _uncompressed, routes
from polyclinic.app.viewer.patient_files import PatientFiles
from polyclinic.app.viewer.patient_links import answer, subjects
from polyclinic.core.assertions import Assertion
from polyclinic.core.errors import InputError


class Shown:
    """A cohort of few files, as far as a patient's page asks for one."""

    path = CohortData.path

    def __init__(self, folder, ids=("P",)):
        self.folder, self.ids = folder, list(ids)

    def files_of(self, patient_id):
        found = (p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file())
        return tuple(sorted(name for name in found if patient_id in name.split("/")))


@pytest.fixture(scope="module")
def cohort(folder):
    return CohortData(folder)


@pytest.fixture(scope="module")
def client(cohort):
    return TestClient(Starlette(routes=routes(cohort)))


@pytest.fixture(scope="module")
def patient_id(cohort):
    """A patient with a tumour, so with all kinds of records."""
    return next(pid for pid, has in zip(cohort.ids, cohort.column("has_omics"), strict=True) if has)


@pytest.fixture(scope="module")
def told(client, patient_id):
    def get(path=""):
        answered = client.get(f"/api/patients/{patient_id}{path}")
        assert answered.status_code == 200, answered.text
        return answered

    return get


def _key(told, kind, **more):
    return next(
        one["key"] for one in told().json()["objects"] if one["kind"] == kind and more.items() <= one.items()
    )


def test_a_patient_has_each_object_once_with_its_time(told, cohort, patient_id):
    found = told().json()
    kinds = [one["kind"] for one in found["objects"]]
    assert sorted(kinds) == ["ecg", "image", "omics", "omics", "omics", "series"]
    assert len({one["key"] for one in found["objects"]}) == len(kinds)
    index_day = str(cohort.column("index_date")[cohort.ids.index(patient_id)])
    assert all(one["time"].startswith(index_day) for one in found["objects"] if one["kind"] != "omics")
    assert cohort.ids[found["place"]] == patient_id
    assert found["profile"]["age"] == cohort.column("age")[found["place"]]


def test_images_are_the_bytes_of_the_files(told, cohort, patient_id, tmp_path):
    import pydicom
    from pydicom.uid import RLELossless

    (name,) = (name for name in cohort.files_of(patient_id) if name.endswith(".dcm"))
    assert told("/dicom/0").content == told("/dicom/0?plain").content == (cohort.folder / name).read_bytes()
    dataset = pydicom.dcmread(cohort.folder / name)
    pixels = dataset.pixel_array
    dataset.compress(RLELossless)
    dataset.save_as(path := tmp_path / "rle.dcm")
    (plain := tmp_path / "plain.dcm").write_bytes(_uncompressed(path, "rle.dcm"))
    shown = pydicom.dcmread(plain)
    assert not shown.file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(shown.pixel_array, pixels)


def test_signals_are_the_samples_and_marks_of_the_files(told, cohort, patient_id):
    import wfdb

    for one in told().json()["objects"]:
        if one["kind"] not in ("ecg", "series"):
            continue
        record = wfdb.rdrecord(str(cohort.folder / one["file"].removesuffix(".hea")))
        values = np.frombuffer(told(f"/samples/{one['n']}").content, "<f4").reshape(record.n_sig, -1)
        assert np.allclose(values, record.p_signal.T, atol=1e-5, equal_nan=True)
        assert [channel["name"] for channel in one["channels"]] == record.sig_name
        if one["kind"] == "ecg":
            part = told(f"/samples/{one['n']}?start=2&seconds=1.5").content
            assert np.array_equal(np.frombuffer(part, "<f4").reshape(12, -1), values[:, 1000:1750])
            marks = wfdb.rdann(str(cohort.folder / one["file"].removesuffix(".hea")), "atr")
            head = told(f"/ecg/{one['n']}").json()
            assert [at for at, _ in head["beats"]] == [
                int(n) for n, s in zip(marks.sample, marks.symbol, strict=True) if s not in "+~"
            ]
            assert head["intervals"]["rr"] == 2 * np.median(np.diff([at for at, _ in head["beats"]]))


def test_intervals_are_those_of_the_marks():
    waves = []
    for beat in range(5):
        at = 500 * beat + 100  # 1000 ms at 500 Hz
        waves += [[at - 80, "("], [at - 60, "p"], [at - 40, ")"], [at - 10, "("], [at, "N"], [at + 35, ")"]]
        waves += [[at + 120, "("], [at + 150, "t"], [at + 190, ")"]]
    beats = [[500 * beat + 100, "N"] for beat in range(5)]
    found = patient_signals.intervals(500.0, beats, waves)
    assert {name: found[name] for name in ("rate", "rr", "pr", "qrs", "qt")} == {
        "rate": 60.0, "rr": 1000.0, "pr": 140.0, "qrs": 90.0, "qt": 400.0,
    }  # fmt: skip
    assert found["qtc_bazett"] == found["qtc_fridericia"] == 400
    fast = patient_signals.intervals(1000.0, [[n // 2, s] for n, s in beats], waves)  # RR 250 ms, QT 200 ms
    assert fast["qtc_bazett"] > fast["qtc_fridericia"] > fast["qt"]
    without_p = [mark for n, mark in enumerate(waves) if n % 9 > 2]
    assert patient_signals.intervals(500.0, beats, without_p)["pr"] is None
    assert patient_signals.intervals(500.0, [], [])["rate"] is None


def test_a_table_of_waves_is_a_series_with_a_gap_after_each(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (place := tmp_path / "wearable" / "P").mkdir(parents=True)
    wave = pa.list_(pa.float32(), 4)
    table = pa.table(
        {
            "time": pa.array([60_000, 10_000], pa.timestamp("ms", tz="UTC")),
            "begins": pa.array([60, 10], pa.int32()),
            "wrist": pa.array([[5, 6, 7, 8], [1, 2, 3, 4]], wave),
        }
    )
    pq.write_table(table.replace_schema_metadata({"polyclinic": '{"rate_hz": 2}'}), place / "ppg.parquet")
    files = PatientFiles(Shown(tmp_path), "P")
    head = patient_signals.about(files, 0)
    assert [channel["name"] for channel in head["channels"]] == ["wrist"]
    assert (head["rate"], head["strips"], head["samples"]) == (2, 2, 10)
    values = np.frombuffer(patient_signals.samples(files, 0), "<f4")
    assert np.array_equal(values, [1, 2, 3, 4, np.nan, 5, 6, 7, 8, np.nan], equal_nan=True)
    times = np.frombuffer(patient_signals.times(files, 0), "<f8")
    assert list(times) == [10, 10.5, 11, 11.5, 12, 60, 60.5, 61, 61.5, 62]


def test_tables_of_wearables_are_series_with_times_of_their_own(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (place := tmp_path / "wearable" / "P").mkdir(parents=True)
    stamps = pa.array([1_700_000_000_123, 1_700_000_004_999], pa.timestamp("ms", tz="UTC"))
    field = pa.field("hr", pa.float32(), metadata={"unit": "/min", "label": "Heart rate"})
    schema = pa.schema([pa.field("time", stamps.type), field])
    pq.write_table(
        pa.table([stamps, pa.array([61.5, None], pa.float32())], schema=schema), place / "watch-5s.parquet"
    )
    pq.write_table(pa.table({"word": ["no times"]}), place / "other.parquet")
    files = PatientFiles(Shown(tmp_path), "P")
    (one,) = patient_signals.listed(files, [])
    assert (one["label"], one["time"]) == ("Wearable: watch, every 5 s", "2023-11-14T22:13:20Z")
    assert one["channels"] == [{"name": "hr", "unit": "/min", "label": "Heart rate"}]
    times = np.frombuffer(patient_signals.times(files, one["n"]), "<f8")
    assert np.allclose(times, [1_700_000_000.123, 1_700_000_004.999], atol=1e-6)
    values = np.frombuffer(patient_signals.samples(files, one["n"]), "<f4")
    assert values[0] == 61.5
    assert np.isnan(values[1])


def test_a_tumour_lies_where_its_values_put_it(told, cohort, patient_id):
    import anndata

    found = told("/omics?store=omics/rna.zarr").json()
    x = np.asarray(anndata.io.read_zarr(cohort.folder / "omics/rna.zarr").X, dtype=np.float64)
    assert found["ids"][found["row"]] == patient_id
    for gene in found["genes"]:
        assert gene["mean"] == pytest.approx(x[:, gene["column"]].mean(), abs=1e-3)
        assert gene["sd"] == pytest.approx(x[:, gene["column"]].std(), abs=1e-3)
    top = np.argsort(-x.std(0), kind="stable")[: found["used"]]
    left, singular, _ = np.linalg.svd(x[:, top] - x[:, top].mean(0), full_matrices=False)
    expected = left[:, :2] * singular[:2]
    assert np.allclose(np.abs(found["points"]), np.abs(expected), atol=0.02 * singular[0])
    assert found["explained"] == pytest.approx(list(singular[:2] ** 2 / (singular**2).sum()), abs=1e-3)


def test_assays_of_one_store_are_shown_one_by_one(folder, tmp_path, patient_id):
    for assay in ("rna", "meth"):
        shutil.copytree(folder / f"omics/{assay}.zarr", tmp_path / f"omics-lab/omics/all.zarr/mod/{assay}")
    files = PatientFiles(Shown(tmp_path, [patient_id]), patient_id)
    found = patient_omics.samples(files, broken := [])
    assert [one["label"] for one in found] == ["Tumour meth (lab)", "Tumour rna (lab)"]
    assert patient_omics.position(files, found[1]["store"])["ids"][found[1]["row"]] == patient_id
    assert broken == []


def test_statements_lead_to_the_object_that_shows_them(told, patient_id):
    chart = told("/record").json()
    keys = {kind: _key(told, kind) for kind in ("ecg", "image", "series")} | {
        "omics": _key(told, "omics", assay="rna")
    }
    links = {
        value["reference"].removeprefix(f"Observation/{patient_id}-"): value["link"]
        for section in ("labs", "vitals", "others")
        for group in chart[section]
        for value in group["values"]
    }
    assert links["ecg-heart-rate"] == links["ecg-rhythm"] == keys["ecg"]
    assert links["pam50"] == links["gene-ESR1"] == keys["omics"]
    assert not links["creatinine"]
    reports = {r["reference"].rpartition("-report-")[2]: r["link"] for r in chart["reports"]}
    assert (reports["chest-xray"], reports["ecg"]) == (keys["image"], keys["ecg"])
    assert chart["problems"]
    assert chart["claims"]
    flagged = [
        v for g in chart["labs"] if g["high"] is not None for v in g["values"] if v["value"] is not None
    ]
    ranges = {g["code"]: g for g in chart["labs"]}
    for group in ranges.values():
        for value in group["values"]:
            if value["value"] is not None and group["high"] is not None:
                assert (value["flag"] in ("H", "HH")) == (value["value"] > group["high"]), group["text"]
    assert flagged


def test_notes_are_their_text_with_the_facts_marked(told, cohort, patient_id):
    notes = told("/notes").json()
    paths = (cohort.folder / "notes").glob("*.jsonl")
    lines = [json.loads(line) for path in paths for line in path.read_text().split("\n") if line]
    own = [note for note in lines if note["meta"]["patient"] == patient_id]
    texts = {"".join(part["text"] for part in note["parts"]) for note in notes}
    assert texts == {note["text"] for note in own}
    marked = [part["text"] for note in notes for part in note["parts"] if "label" in part]
    assert sorted(marked) == sorted(span["text"] for note in own for span in note["spans"])
    ecg = next(note for note in notes if note["kind"] == "ecg")
    assert ecg["link"] == _key(told, "ecg")
    assert any(part.get("link") == ecg["link"] for part in ecg["parts"])


def test_files_of_a_patient_agree_and_a_planted_lie_is_found(cohort, patient_id):
    found = answer(cohort, patient_id)["subjects"]
    assert all(one["agrees"] for one in found)
    rate = next(one for one in found if one["subject"] == "heart rate")
    assert {"ECG header", "FHIR Observation of the ECG"} <= {said["source"] for said in rate["statements"]}
    said = [Assertion.of("age", "DICOM tags", 61.0), Assertion.of("age", "FHIR Patient", 16.0)]
    said += [Assertion.of("sex", name, "F") for name in ("DICOM tags", "FHIR Patient")]
    first, second = subjects(said)
    assert (first["subject"], first["agrees"], second["agrees"]) == ("age", False, True)
    assert [one["agrees"] for one in first["statements"]] == [False, False]


def test_a_patient_s_lines_are_found_wherever_they_stand(tmp_path):
    rng = np.random.default_rng(5)
    ids = [f"P-{n:03d}" for n in range(150)]
    (tmp_path / "fhir").mkdir()
    lines, counts = ['{"resourceType":"Organization","id":"shared"}'], rng.integers(0, 12, len(ids))
    for pid, count in zip(ids, counts, strict=True):
        for k in range(count):
            subject = {"reference": f"Patient/{pid}"}
            lines.append(json.dumps({"id": f"{k}", "subject": subject, "pad": "x" * int(rng.integers(3000))}))
    (tmp_path / "fhir" / "Observation.ndjson").write_text("\n".join(lines) + "\n")
    cohort = Shown(tmp_path, ids)
    for pid, count in zip(ids, counts, strict=True):
        own = PatientFiles(cohort, pid).resources().get("Observation", [])
        assert [one["id"] for one in own] == [str(k) for k in range(count)]
    with pytest.raises(InputError, match="another cohort"):
        PatientFiles(Shown(tmp_path, ["P-000"]), "P-000").resources()


def test_a_segmentation_covers_the_image_that_it_names(tmp_path):
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.pixels import pack_bits
    from pydicom.uid import ExplicitVRLittleEndian

    from polyclinic.app.viewer.patient_masks import mask

    covered = np.zeros((8, 8), dtype=np.uint8)
    covered[2:5, 1:7] = 1
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    made.SOPInstanceUID, made.SeriesInstanceUID = "2.25.9", "2.25.8"
    made.SegmentationType, made.Rows, made.Columns, made.NumberOfFrames = "BINARY", 8, 8, 1
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    made.PixelData = pack_bits(covered)
    image, segment, group = Dataset(), Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "2.25.7"
    segment.ReferencedSegmentNumber = 1
    group.SegmentIdentificationSequence, derived = [segment], Dataset()
    derived.SourceImageSequence = [image]
    group.DerivationImageSequence = [derived]
    made.PerFrameFunctionalGroupsSequence = [group]
    about, series = Dataset(), Dataset()
    about.SegmentNumber, about.SegmentLabel = 1, "Lung"
    series.ReferencedInstanceSequence = [image]
    made.SegmentSequence, made.ReferencedSeriesSequence = [about], [series]
    (tmp_path / "dicom" / "P").mkdir(parents=True)
    pydicom.dcmwrite(path := tmp_path / "dicom" / "P" / "seg.dcm", made, enforce_file_format=True)
    assert np.array_equal(mask(path, 1, "2.25.7"), covered * 255)
    for segment_number, uid in ((2, "2.25.7"), (1, "2.25.6")):
        with pytest.raises(InputError, match="no frame"):
            mask(path, segment_number, uid)
    (found,) = PatientFiles(Shown(tmp_path), "P").images([])
    assert (found["of"], found["segments"]) == (["2.25.7"], [{"number": 1, "label": "Lung"}])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("patients/nobody", 404),
        ("patients/..%2f..", 404),
        ("patients/{id}/dicom/9", 404),
        ("patients/{id}/ecg/9", 404),
        ("patients/{id}/ecg/1", 422),
        ("patients/{id}/samples/0?start=now", 422),
        ("patients/{id}/times/0", 422),
        ("patients/{id}/omics?store=omics/../dicom", 404),
        ("patients/{id}/omics", 404),
        ("store/patients.parquet", 404),
        ("store/omics/rna.zarr/..%2f..%2fmanifest.json", 404),
        ("store/omics/rna.zarr/nothing", 404),
    ],
)
def test_what_is_not_there_is_one_line_of_json(client, patient_id, path, status):
    answered = client.get(f"/api/{path.format(id=patient_id)}")
    assert answered.status_code == status
    if "json" in answered.headers["content-type"]:
        assert "\n" not in answered.json()["error"]
    else:
        assert answered.text == "Not Found"


def test_no_file_outside_of_the_cohort_is_read(folder, tmp_path, patient_id):
    place = tmp_path / "cohort"
    shutil.copytree(folder, place)
    secret = tmp_path / "secret.dat"
    secret.write_bytes(b"\1\0" * 60_000)
    (place / "omics/rna.zarr/leak").symlink_to(secret)
    header = place / "wfdb" / patient_id / "ecg.hea"
    header.write_text(header.read_text().replace("ecg.dat", "../../../secret.dat"))
    client = TestClient(Starlette(routes=routes(CohortData(place))))
    assert client.get("/api/store/omics/rna.zarr/zarr.json").status_code == 200
    for path in (
        "store/omics/rna.zarr/leak",
        f"patients/{patient_id}/samples/0",
        f"patients/{patient_id}/ecg/0",
    ):
        answered = client.get(f"/api/{path}")
        assert answered.status_code in (404, 422), path
        assert "error" in answered.json()


SPOILT = [
    "dicom", "ecg.hea", "ecg.dat", "ecg.atr", "vitals.dat", "rna.zarr/X", "rna.zarr/obs/_index", "rna.zarr/zarr.json",
    "Observation.ndjson", "ecg.jsonl",
]  # fmt: skip


@pytest.mark.parametrize("how", ["cut", "noise"])
def test_a_damaged_file_takes_no_other_with_it(folder, tmp_path, patient_id, how):
    rng = np.random.default_rng(3)
    asked = [
        "",
        "/dicom/0?plain",
        "/ecg/0",
        "/samples/0",
        "/vitals/1",
        "/samples/1",
        "/omics?store=omics/rna.zarr",
    ]
    asked += ["/record", "/notes"]
    for n, spoilt in enumerate(SPOILT):
        shutil.copytree(folder, place := tmp_path / f"{how}{n}", copy_function=os.link)
        paths = [p for p in place.rglob("*") if p.is_file() and spoilt in p.as_posix()]
        paths = [p for p in paths if patient_id in p.as_posix()] or paths
        for path in [p for p in paths if p.suffix != ".json" or spoilt.endswith(".json")]:
            content = path.read_bytes()
            path.unlink()  # a link to the cohort's own
            size = len(content)
            path.write_bytes(content[: size // 2] if how == "cut" else rng.bytes(size))
        client = TestClient(Starlette(routes=routes(CohortData(place))))
        answered = {path: client.get(f"/api/patients/{patient_id}{path}") for path in asked}
        wrong = {path: a.text for path, a in answered.items() if a.status_code not in (200, 404, 422)}
        assert not wrong, spoilt
        assert all("\n" not in a.json()["error"] for a in answered.values() if a.status_code != 200), spoilt
        kinds = {one["kind"] for one in answered[""].json()["objects"]}
        assert len(kinds) >= 3, (spoilt, answered[""].json()["broken"])


def test_the_server_of_a_patient_page_loads_no_torch(folder, patient_id):
    script = f"""
import sys
from pathlib import Path
from polyclinic.app.viewer.cohort_data import CohortData
from polyclinic.app.viewer import patient, patient_omics
from polyclinic.app.viewer.patient_files import PatientFiles
from polyclinic.app.viewer.patient_record import chart, shown_by
files = PatientFiles(CohortData(Path({str(folder)!r})), {patient_id!r})
objects, resources = patient.objects(files), files.resources()
chart(resources, shown_by(resources, objects))
patient_omics.position(files, "omics/rna.zarr")
print(sorted({{"torch", "lightning", "anndata", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_worker_of_links_answers_again_after_it_ended(folder, patient_id):
    from polyclinic.app.viewer.patient_links import Links

    links = Links(Path(folder))
    found = links.of(patient_id)
    assert found["subjects"]
    links._worker.kill()
    links._worker.wait()
    links._kept.clear()
    assert links.of(patient_id) == found
    links.close()
    assert links._worker is None
