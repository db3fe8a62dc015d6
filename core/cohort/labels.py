"""labels.csv in a modality's folder: the patient of each record, its file, and the labels of that patient."""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from posixpath import splitext
from typing import Any, NamedTuple

from ..profile import PatientProfile, Value

NAME = "labels.csv"
STORES = (".h5ad", ".h5mu", ".vcf.gz", "/Patient.ndjson")  # files in which each of many patients has a place
HEADER = ".hea"  # of a WFDB record: the one of its files that a reader opens


class Part(NamedTuple):
    """Some patients: the files that were written for them, and who has a record of a modality, by its name."""

    profiles: Sequence[PatientProfile]
    files: Collection[str]
    have: Mapping[str, Collection[str]] = {}


def write_labels(
    folder: Path,
    parts: Iterable[Part],
    fields: Sequence[str],
    joined: Collection[str] = (),
    shared: Mapping[str, str] | None = None,
) -> list[Path]:
    """One labels.csv in each top folder that has records: patient_id, file (from that folder on), and the fields.

    `parts` are some patients at a time, in order; `joined` are files of all. A row is a record. Files in one folder
    that differ in their suffix alone are one record (ecg.hea, ecg.dat, ecg.atr), and the row names the file that a
    reader opens. A folder called by a patient's id holds files of that patient. `shared` are stores of many patients,
    and the modality that they are of: a row for each who has it. Flags are yes or no, what is unknown is left blank.
    """
    named: dict[str, list[str]] = {}  # part of a path -> files of all that have it
    for path in joined:
        for folder_name in path.split("/")[1:-1]:
            named.setdefault(folder_name, []).append(path)
    written: dict[str, Path] = {}
    with ExitStack() as open_files:
        tables: dict[str, Any] = {}
        for part in parts:
            known = {profile.patient_id: profile for profile in part.profiles}
            rows: dict[str, list[tuple[str, str]]] = {}
            own = [path for name in known for path in named.get(name, ())]
            for path in _records([*part.files, *own]):
                top, *inner = path.split("/")
                if owner := next((part for part in inner[:-1] if part in known), None):
                    rows.setdefault(top, []).append((owner, "/".join(inner)))
            for store, modality in (shared or {}).items():
                top, *inner = store.split("/")
                if has := part.have.get(modality):
                    rows.setdefault(top, []).extend((name, "/".join(inner)) for name in has)
            order = {patient: place for place, patient in enumerate(known)}
            told = {name: [_text(own.get(field)) for field in fields] for name, own in known.items()}
            for top, listed in rows.items():
                if top not in tables:
                    written[top] = folder / top / NAME
                    file = open_files.enter_context(written[top].open("w", encoding="utf-8", newline=""))
                    tables[top] = csv.writer(file, lineterminator="\n")
                    tables[top].writerow(["patient_id", "file", *fields])
                tables[top].writerows(
                    [patient, file, *told[patient]]
                    for patient, file in sorted(listed, key=lambda r: (order[r[0]], r[1]))
                )
    return list(written.values())


def stores_of(paths: Iterable[str]) -> list[str]:
    """The stores that these files, which many patients share, are: omics/rna.zarr, fhir/Patient.ndjson.

    A folder whose name has a suffix is one, and a folder's only file, too; other files of a folder have no row.
    """
    found, alone = set(), dict[str, list[str]]()
    for path in paths:
        folder, *inner = path.split("/")
        if len(inner) > 1 and "." in inner[0]:
            found.add(f"{folder}/{inner[0]}")
        elif path.endswith(STORES):
            found.add(path)
        elif inner:
            alone.setdefault(folder, []).append(path)
    held = {store.split("/")[0] for store in found}
    return sorted(found | {own[0] for folder, own in alone.items() if len(own) == 1 and folder not in held})


def _records(files: Collection[str]) -> list[str]:
    """One file of each record, by path: the header where a record has one, else the first."""
    found: dict[str, str] = {}
    for path in sorted(files, key=lambda path: path.split("/")):
        record, suffix = splitext(path)
        if record not in found or suffix == HEADER:
            found[record] = path
    return list(found.values())


def _text(value: Value | None) -> str:
    if value is None:
        return ""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
