"""labels.csv in a modality's folder: the patient of each record, its file, and the labels of that patient."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..profile import PatientProfile, Value

NAME = "labels.csv"
STORES = (".h5ad", ".h5mu", ".vcf.gz", "/Patient.ndjson")  # files in which each of many patients has a place
HEADER = ".hea"  # of a WFDB record: the one of its files that a reader opens


def write_labels(
    folder: Path,
    profiles: Iterable[PatientProfile],
    fields: Sequence[str],
    files: Collection[str],
    shared: Mapping[str, Collection[str]],
) -> list[Path]:
    """One labels.csv in each top folder of `files`: patient_id, file (from that folder on), and the fields.

    A row is a record. Files in one folder that differ in their suffix alone are one record (ecg.hea, ecg.dat,
    ecg.atr), and the row names the file that a reader opens. A folder called by a patient's id holds files of that
    patient. `shared` are stores that hold many patients, with the ids of these: a row for each. Flags
    are yes or no, what is unknown is left blank.
    """
    known = {profile.patient_id: [_text(profile.get(name)) for name in fields] for profile in profiles}
    rows: dict[str, list[tuple[str, str]]] = {}
    for path in _records(files):
        top, *inner = PurePosixPath(path).parts
        if owner := next((part for part in inner[:-1] if part in known), None):
            rows.setdefault(top, []).append((owner, "/".join(inner)))
    for store, patients in shared.items():
        top, *inner = PurePosixPath(store).parts
        rows.setdefault(top, []).extend((patient, "/".join(inner)) for patient in patients)
    order = {patient: place for place, patient in enumerate(known)}
    written = []
    for top, listed in rows.items():
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["patient_id", "file", *fields])
        table.writerows(
            [patient, file, *known[patient]]
            for patient, file in sorted(listed, key=lambda r: (order[r[0]], r[1]))
        )
        written.append(folder / top / NAME)
        written[-1].write_text(text.getvalue(), encoding="utf-8")
    return written


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
    found: dict[PurePosixPath, PurePosixPath] = {}
    for path in sorted(map(PurePosixPath, files)):
        record = path.with_suffix("")
        if record not in found or path.suffix == HEADER:
            found[record] = path
    return [str(path) for path in found.values()]


def _text(value: Value | None) -> str:
    if value is None:
        return ""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
