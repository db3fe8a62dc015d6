"""Rows of benchmarks/readers.py for signals: wfdb, edfio, pyEDFlib, MNE, DICOM waveforms, one time in all of them."""

import json
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
from readers_rows import Row, need, read_each

TIMES = "%Y-%m-%dT%H:%M:%S"


def headers(cohort: Path) -> list[Path]:
    """Headers of all WFDB records."""
    return sorted((cohort / "wfdb").glob("*/*.hea"))


def traces(cohort: Path) -> list[Path]:
    """All EDF files."""
    return sorted((cohort / "edf").glob("*/*.edf"))


def truth(path: Path) -> np.ndarray:
    """The ECG of the same patient in WFDB, (lead, sample) uV; what other formats are compared with."""
    import wfdb

    record = wfdb.rdrecord(str(path.parents[2] / "wfdb" / path.parent.name / path.stem))
    return np.asarray(record.p_signal).T


def wfdb_reads(cohort: Path) -> Row:
    """Signals, base time, annotations and their number; `#Dx` of every ECG."""
    version = need("wfdb")
    import wfdb

    marks = 0

    def read(path: Path) -> Iterator[str]:
        nonlocal marks
        record = wfdb.rdrecord(str(path.with_suffix("")))
        if record.base_datetime is None:
            yield "has no base time"
        if path.stem == "ecg":
            if not any(line.startswith("Dx: ") for line in record.comments):
                yield "has no #Dx"
            found = wfdb.rdann(str(path.with_suffix("")), "atr")
            marks += len(found.sample)
            if len(found.sample) and found.sample.max() >= record.sig_len:
                yield "a mark lies behind the end"

    paths = headers(cohort)
    errors = read_each(paths, read)
    return Row("wfdb", version, len(paths), f"{marks} marks", errors)


def edfio_reads(cohort: Path) -> Row:
    """Signals; the ECG is that of WFDB within half a microvolt."""
    version = need("edfio")
    import edfio

    def read(path: Path) -> Iterator[str]:
        file = edfio.read_edf(path)
        if path.stem == "ecg":
            values = np.stack([signal.data for signal in file.signals])
            if np.abs(values - 1000 * truth(path)).max() > 0.5:
                yield "another ECG than in WFDB"

    paths = traces(cohort)
    return Row("edfio", version, len(paths), "ECG as in WFDB", read_each(paths, read))


def pyedflib_reads(cohort: Path) -> Row:
    """Signals and annotations; the start that edfio has."""
    version = need("pyedflib", "pyEDFlib")
    import edfio
    import pyedflib

    marks = 0

    def read(path: Path) -> Iterator[str]:
        nonlocal marks
        with pyedflib.EdfReader(str(path)) as file:
            marks += len(file.readAnnotations()[0])
            if path.stem == "ecg":
                values = np.stack([file.readSignal(i) for i in range(file.signals_in_file)])
                if np.abs(values - 1000 * truth(path)).max() > 0.5:
                    yield "another ECG than in WFDB"
            begun = file.getStartdatetime()
        asked = edfio.read_edf(path)
        if begun != datetime.combine(asked.startdate, asked.starttime):
            yield f"begins {begun} in one library and {asked.starttime} in the other"

    paths = traces(cohort)
    errors = read_each(paths, read)
    return Row("pyEDFlib", version, len(paths), f"{marks} annotations", errors)


def mne_reads(cohort: Path) -> Row:
    """All channels; with infer_types the ECG's are of type ecg."""
    version = need("mne")
    import mne

    said: list[str] = []

    def read(path: Path) -> Iterator[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raw = mne.io.read_raw_edf(path, preload=True, infer_types=True, verbose="error")
        said.extend(f"{path.name}: {warning.message}" for warning in caught)
        if path.stem == "ecg":
            if set(raw.get_channel_types()) != {"ecg"}:
                yield f"channels of type {set(raw.get_channel_types())}"
            if np.abs(raw.get_data() * 1e6 - 1000 * truth(path)).max() > 0.5:
                yield "another ECG than in WFDB"

    paths = traces(cohort)
    errors = read_each(paths, read)
    return Row("MNE", version, len(paths), "ECG as in WFDB", errors, said)


def pydicom_waveforms(cohort: Path) -> Row:
    """Waveforms in uV: the ECG of WFDB."""
    version = need("pydicom")
    import pydicom
    from pydicom.waveforms import multiplex_array

    def read(path: Path) -> Iterator[str]:
        tags = pydicom.dcmread(path)
        values = multiplex_array(tags, 0, as_raw=False).T
        asked = truth(cohort / "waveforms" / str(tags.PatientID) / "ecg")
        if np.abs(values - 1000 * asked).max() > 0.5:
            yield "another ECG than in WFDB"

    paths = sorted((cohort / "waveforms").rglob("*.dcm"))
    return Row("pydicom, waveforms", version, len(paths), "ECG as in WFDB", read_each(paths, read))


def one_study(cohort: Path) -> Row:
    """Time and UID of each ECG and each X-ray: one in DICOM, WFDB, EDF and FHIR."""
    import edfio
    import pydicom
    import wfdb

    version = need("pydicom")
    said: dict[str, set[str]] = {}
    for name in ("DiagnosticReport", "ImagingStudy"):
        for line in (cohort / "fhir" / f"{name}.ndjson").read_text().splitlines():
            resource = json.loads(line)
            time = resource.get("effectiveDateTime") or resource.get("started")
            for identifier in resource.get("identifier", ()):
                if str(identifier.get("value", "")).startswith("urn:oid:") and time:
                    said.setdefault(identifier["value"].removeprefix("urn:oid:"), set()).add(time)

    def fits(uid: str, times: dict[str, datetime | None]) -> Iterator[str]:
        if uid not in said:
            yield f"FHIR names no study {uid}"
        for resource_time in said.get(uid, ()):
            times |= {"FHIR": datetime.strptime(resource_time.removesuffix("Z")[:19], TIMES)}
            if len(set(times.values())) > 1:
                yield f"times differ: { ({k: str(v) for k, v in times.items()}) }"

    def read(path: Path) -> Iterator[str]:
        tags = pydicom.dcmread(path, stop_before_pixels=True)
        begun = datetime.strptime(f"{tags.StudyDate}{tags.StudyTime}", "%Y%m%d%H%M%S")
        if path.relative_to(cohort).parts[0] == "dicom":
            yield from fits(str(tags.StudyInstanceUID), {"DICOM study": begun})
            return
        taken = datetime.strptime(tags.AcquisitionDateTime, "%Y%m%d%H%M%S")
        header = wfdb.rdheader(str(cohort / "wfdb" / tags.PatientID / "ecg"))
        file = edfio.read_edf(cohort / "edf" / tags.PatientID / "ecg.edf")
        starts = {"WFDB": header.base_datetime, "EDF": datetime.combine(file.startdate, file.starttime)}
        yield from fits(str(tags.StudyInstanceUID), {"DICOM acquisition": taken, **starts})

    paths = sorted(path for top in ("dicom", "waveforms") for path in (cohort / top).rglob("*.dcm"))
    errors = read_each(paths, read)
    return Row(
        "one study in DICOM, WFDB, EDF, FHIR", version, len(paths), f"{len(said)} studies in FHIR", errors
    )


READERS = {
    "wfdb": wfdb_reads,
    "edfio": edfio_reads,
    "pyEDFlib": pyedflib_reads,
    "mne": mne_reads,
    "pydicom-waveforms": pydicom_waveforms,
    "one-study": one_study,
}
