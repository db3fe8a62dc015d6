"""labels.csv beside a modality's files: whose each file is, and the labels of that patient."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..profile import PatientProfile, Value

NAME = "labels.csv"


def write_labels(
    folder: Path,
    profiles: Iterable[PatientProfile],
    fields: Sequence[str],
    files: Collection[str],
    shared: Mapping[str, Collection[str]],
) -> list[Path]:
    """One labels.csv in each top folder of `files`: patient_id, file (from that folder on), and the fields.

    A file is the patient's whose id one of its folders is called by. `shared` are stores (or folders) that hold
    many patients, with the ids of these: a row for each. Flags are yes or no, what is unknown is left blank.
    """
    known = {profile.patient_id: [_text(profile.get(name)) for name in fields] for profile in profiles}
    rows: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(files):
        top, *inner = PurePosixPath(path).parts
        if owner := next((part for part in inner[:-1] if part in known), None):
            rows.setdefault(top, []).append((owner, "/".join(inner)))
    for store, patients in shared.items():
        top, *inner = PurePosixPath(store).parts
        rows.setdefault(top, []).extend((patient, "/".join(inner) or ".") for patient in patients)
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


def _text(value: Value | None) -> str:
    if value is None:
        return ""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
