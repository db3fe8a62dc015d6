"""PatientFiles: where a patient's objects lie in a cohort: images by series, signals, omics, lines of the record."""

import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config import read_json
from ...core.errors import InputError, first_line

if TYPE_CHECKING:
    from .cohort_data import CohortData

OWNER = re.compile(rb'"reference": ?"Patient/([^"]*)"|"resourceType": ?"Patient","id": ?"([^"]*)"')
NOTE_OWNER = re.compile(rb'"patient": ?"([^"]*)"')
MASKS = "1.2.840.10008.5.1.4.1.1.66.4"  # SOP class of DICOM segmentations
DAMAGED = (  # what readers of other packages raise for damaged files
    ValueError, OSError, AttributeError, KeyError, IndexError, TypeError, RuntimeError, EOFError, OverflowError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip
ORDER_LOST = "the file is damaged, generate the cohort again"
TABLE = ".parquet"
SAME_AGAIN = "all"  # a record that has the other ones' signals once more


class NotThere(InputError):  # noqa: N818
    """Asked for something that this cohort or patient does not have."""


@dataclass(frozen=True)
class PatientFiles:
    """Of one patient. Raises NotThere for an unknown patient, InputError naming a file that cannot be read."""

    cohort: "CohortData"
    patient_id: str

    def __post_init__(self) -> None:
        if self.patient_id not in self.ranks:
            raise NotThere(f"no patient {self.patient_id[:80]!r} in this cohort")

    @property
    def ranks(self) -> dict[str, int]:
        """Each patient's place in the cohort's order."""
        return ranks_of(self.cohort)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the patient's own files."""
        return tuple(self.cohort.files_of(self.patient_id))

    @cached_property
    def dicom(self) -> tuple[str, ...]:
        """Names of DICOM images and masks; the n-th is that of `dicom/n`."""
        return tuple(name for name in self.names if "dicom" in name.split("/")[:2] and name.endswith(".dcm"))

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """WFDB records, without `.hea`, then Parquet tables: the n-th is that of `ecg/n`, `vitals/n`, `samples/n`."""
        found = (n.removesuffix(".hea") for n in self.names if n.endswith(".hea"))
        records = sorted(
            (name for name in found if name.rpartition("/")[2] != SAME_AGAIN),
            key=lambda name: (bool(_instance(name)), name),  # the plain ones first
        )
        return (*records, *sorted(name for name in self.names if name.endswith(TABLE)))

    def named(self, names: tuple[str, ...], n: int, what: str) -> str:
        """The n-th of some names. Raises NotThere."""
        if not 0 <= n < len(names):
            raise NotThere(f"{self.patient_id} has no {what} {n}; expected one of {len(names)}")
        return names[n]

    def images(self, broken: list[str]) -> list[dict[str, Any]]:
        """Series of images, and DICOM segmentations with what they are of; headers alone are read.

        A file that cannot be read is told in `broken`.
        """
        series: dict[str, dict[str, Any]] = {}
        masks = []
        for n, name in enumerate(self.dicom):
            try:
                found = self._look(n, name)
            except InputError as error:
                broken.append(first_line(error))
                continue
            if found["kind"] == "mask":
                masks.append(found)
            else:
                own = series.setdefault(found["key"], found | {"instances": []})
                own["instances"] += found["instances"]
        for own in series.values():
            own["instances"].sort(key=lambda one: (one["at"], one["n"]))
        return [*series.values(), *masks]

    def _look(self, n: int, name: str) -> dict[str, Any]:
        """What one DICOM file is: a mask, or a series with that one image."""
        import pydicom
        from pydicom.errors import InvalidDicomError

        path = self.cohort.path(name)
        try:
            head = pydicom.dcmread(path, stop_before_pixels=True)
            if str(head.get("SOPClassUID")) == MASKS:
                return _mask(n, head)
            image = {"n": n, "uid": str(head.get("SOPInstanceUID", "")), "at": _place(head)}
            return _series(name, head) | {"instances": [image]}
        except (InvalidDicomError, *DAMAGED) as error:
            raise InputError(f"{name}: cannot be read as DICOM ({type(error).__name__})") from None

    def stores(self) -> list[str]:
        """Names of the omics stores of the cohort; of one that holds several assays (MuData), of each."""
        folders = [self.cohort.folder / "omics", *sorted(self.cohort.folder.glob("*/omics"))]
        found = [path for folder in folders for path in sorted(folder.glob("*.zarr")) if path.is_dir()]
        assays = [sorted(path.glob("mod/*/zarr.json")) for path in found]
        each = [[one.parent for one in own] or [path] for path, own in zip(found, assays, strict=True)]
        return [path.relative_to(self.cohort.folder).as_posix() for own in each for path in own]

    def resources(self) -> dict[str, list[dict[str, Any]]]:
        """The patient's FHIR resources by type; none where the cohort has no health record."""
        found = {}
        for path in sorted((self.cohort.folder / "fhir").glob("*.ndjson")):
            name = path.relative_to(self.cohort.folder).as_posix()
            if own := list(self._lines(name, OWNER)):
                found[path.stem] = own
        return found

    def notes(self) -> list[dict[str, Any]]:
        """The patient's notes, as a cohort's notes/<kind>.jsonl has them."""
        paths = sorted((self.cohort.folder / "notes").glob("*.jsonl"))
        names = [path.relative_to(self.cohort.folder).as_posix() for path in paths]
        return [note for name in names for note in self._lines(name, NOTE_OWNER)]

    def raw_lines(self, name: str) -> Iterator[bytes]:
        """Lines of a file of the record that are this patient's, as they stand there."""
        owner = NOTE_OWNER if name.startswith("notes") else OWNER
        yield from _own_lines(self.cohort.path(name), owner, self.ranks, self.patient_id)

    def _lines(self, name: str, owner: re.Pattern[bytes]) -> Iterator[dict[str, Any]]:
        for line in _own_lines(self.cohort.path(name), owner, self.ranks, self.patient_id):
            try:
                found = read_json(line.decode())
            except (json.JSONDecodeError, UnicodeDecodeError):
                raise InputError(f"{name}: expected a JSON object a line; {ORDER_LOST}") from None
            if isinstance(found, dict):
                yield found


def ranks_of(cohort: "CohortData") -> dict[str, int]:
    """Each patient's place in the cohort's order; kept with the cohort."""
    kept = vars(cohort).setdefault("_ranks", {})
    if not kept:
        kept.update({patient: n for n, patient in enumerate(cohort.ids)})
    found: dict[str, int] = kept
    return found


def _own_lines(
    path: Path, owner: re.Pattern[bytes], ranks: Mapping[str, int], patient_id: str
) -> Iterator[bytes]:
    """Lines of one patient, found by bisection: such files are in the order of the patients, shared lines first."""
    wanted = ranks[patient_id]
    with path.open("rb") as file:
        low, high = 0, path.stat().st_size
        while high - low > 1 << 16:  # a line at or before `low` is of an earlier patient
            middle = (low + high) // 2
            file.seek(middle)
            file.readline()
            start = file.tell()
            if start >= high or not (line := file.readline()):
                high = middle
            elif _rank(line, owner, ranks, path) < wanted:
                low = start
            else:
                high = middle
        file.seek(low)
        for line in file:
            rank = _rank(line, owner, ranks, path)
            if rank > wanted:
                return
            if rank == wanted:
                yield line


def _rank(line: bytes, owner: re.Pattern[bytes], ranks: Mapping[str, int], path: Path) -> int:
    """Place of the patient of a line; -1 of what all patients share."""
    found = owner.search(line)
    if found is None:
        return -1
    patient = next(group for group in found.groups() if group is not None).decode(errors="replace")
    if patient not in ranks:
        raise InputError(f"{path.name}: names a patient {patient[:40]!r} of another cohort; {ORDER_LOST}")
    return ranks[patient]


def _series(name: str, head: Any) -> dict[str, Any]:
    sides = [str(side) for side in head.get("PatientOrientation") or ()]
    label, instance = str(head.get("SeriesDescription") or head.get("Modality") or "image"), _instance(name)
    return {
        "kind": "image",
        "key": f"image-{head.get('SeriesInstanceUID', name)}",
        "label": f"{label} ({instance})" if instance else label,
        "modality": str(head.get("Modality", "")),
        "instance": instance,
        "study": str(head.get("StudyInstanceUID", "")),
        "time": _time(head),
        "view": str(head.get("ViewPosition") or ""),
        "part": str(head.get("BodyPartExamined") or ""),
        "rows": int(head.get("Rows", 0)),
        "columns": int(head.get("Columns", 0)),
        "sides": sides if len(sides) == 2 else [],
        "colour": int(head.get("SamplesPerPixel", 1)) > 1,
        "frames": int(head.get("NumberOfFrames", 1) or 1),
    }  # fmt: skip


def _mask(n: int, head: Any) -> dict[str, Any]:
    of = {
        str(image.ReferencedSOPInstanceUID)
        for series in head.get("ReferencedSeriesSequence", ())
        for image in series.get("ReferencedInstanceSequence", ())
    }
    names = [
        {"number": int(segment.SegmentNumber), "label": str(segment.get("SegmentLabel", "segment"))}
        for segment in head.get("SegmentSequence", ())
    ]
    return {
        "kind": "mask", "key": f"mask-{n}", "label": str(head.get("SeriesDescription") or "Segmentation"), "n": n,
        "of": sorted(of), "segments": names,
    }  # fmt: skip


def _place(head: Any) -> float:
    """Where an image stands in its series: along the normal of its plane, else by its number."""
    where, axes = head.get("ImagePositionPatient"), head.get("ImageOrientationPatient")
    if where and axes and len(axes) == 6 and len(where) == 3:
        (a, b, c), (d, e, f) = map(float, axes[:3]), map(float, axes[3:])
        normal = (b * f - c * e, c * d - a * f, a * e - b * d)
        return float(sum(x * y for x, y in zip(map(float, where), normal, strict=True)))
    return float(head.get("InstanceNumber") or 0)


def _instance(name: str) -> str:
    """`skin` of a file of `imaging-skin/`, else nothing."""
    first = name.split("/")[0]
    return first.partition("-")[2] if "-" in first else ""


def _time(head: Any) -> str:
    """When an image was made: ISO, UTC; empty where unknown."""
    for part in ("Acquisition", "Content", "Series", "Study"):
        day, clock = str(head.get(f"{part}Date") or ""), str(head.get(f"{part}Time") or "")
        if len(day) == 8 and day.isdigit():
            date = f"{day[:4]}-{day[4:6]}-{day[6:]}"
            return f"{date}T{clock[:2]}:{clock[2:4]}:{clock[4:6]}Z" if len(clock) >= 6 else date
    return ""
