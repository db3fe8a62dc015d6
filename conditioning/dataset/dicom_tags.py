"""Tags of a folder of DICOM files: the patient of each image, and the profile fields that tags hold."""

import os
import re
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.dicom_patient import SEGMENTATIONS, read_object
from ...core.errors import InputError, first_line, listed
from ...core.fields import BY_NAME
from ...core.profile import Value
from ...core.progress import counted
from ...core.remarks import remark

if TYPE_CHECKING:
    from pydicom import Dataset

FIELDS = (
    "age",
    "sex",
    "height",
    "weight",
    "chest_view",
)  # profile fields that tags may hold; the others need a table
ALL = "**/*"
MANY = 50  # files that are not DICOM, from which a folder is of another kind
CATALOGUE = "DICOMDIR"
# One model learns one kind of image: these must not vary within a folder, unless `keep` says how they may.
KIND = ("Modality", "BodyPartExamined", "PresentationIntentType")
ALIKE = {"CR": "CR or DX", "DX": "CR or DX"}  # both are radiographs on a digital detector
CHEST = ("CHEST", "THORAX", "")  # where PA and AP are views of the chest, as far as is known
WAVEFORMS = "1.2.840.10008.5.1.4.1.1.9."  # how the SOP classes of ECGs and other traces begin
A_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}  # in the units of PatientAge
TAGS = (
    *KIND, "Rows", "SOPClassUID", "SOPInstanceUID", "PatientID", "PatientAge", "PatientBirthDate", "StudyDate",
    "PatientSex", "PatientSize", "PatientWeight", "ViewPosition",
)  # fmt: skip

USUAL = ("SOPClassUID", "SOPInstanceUID", "PatientID", "Modality")  # of which a file has one at least

Keep = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class TaggedImage:
    """One DICOM image file: path below the folder, SOP instance UID, patient id ("" unknown), profile values."""

    record: str
    uid: str
    patient_id: str
    values: Mapping[str, Value]


def is_dicom_folder(folder: Path) -> bool:
    """Whether there are files below and all are DICOM, hidden ones and the DICOMDIR catalogue aside.

    Raises InputError naming the others where most are DICOM: a stray file is no other kind of folder.
    """
    found, others = 0, list[Path]()
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if _counts(name)):
            if path.is_file() and _is_dicom(path):
                found += 1
            else:
                others.append(path)
        if len(others) > found + MANY:
            return False
    if others and found > len(others):
        named = [path.relative_to(folder).as_posix() for path in sorted(others)]
        raise InputError(
            f"{folder}: {found} DICOM files and {len(others)} of another kind: {listed(named)}; "
            "move them away, or add a dataset.yaml with dicom: PATTERN"
        )
    return found > 0 and not others


def read_tags(
    folder: Path, pattern: str = ALL, keep: Mapping[str, Any] | None = None, besides: Collection[str] = ()
) -> list[TaggedImage]:
    """The images among the DICOM files that match, in the order of their paths; pixels are not read.

    keep: tag keyword -> value or values; images without one of these are left out. So are objects without
    pixels (reports, presentation states; waveforms too, unless `keep` names their Modality), segmentations, and
    `besides`, paths known to be something else, as the table. A number out of the vocabulary's public range counts as
    unknown, with one remark. Raises InputError: no image, unreadable files (listed), or a mixture of
    modalities, body parts or presentation intents that `keep` does not name.
    """
    wanted = _wanted(keep or {}, folder)
    images: list[TaggedImage] = []
    unreadable: list[str] = []
    kinds = {name: Counter[str]() for name in KIND}
    example: dict[tuple[str, str], str] = {}  # a file of each kind
    strange: Counter[str] = Counter()
    paths = [path for path in _paths(folder, pattern) if path.relative_to(folder).as_posix() not in besides]
    for path in counted(paths, len(paths), "read the tags of", "files"):
        record = path.relative_to(folder).as_posix()
        if not path.is_file():
            unreadable.append(
                f"{record} (it is {'a device or a pipe' if path.exists() else 'a broken link'})"
            )
            continue
        try:
            tags = _read(path, (*TAGS, *wanted))
        except InputError as error:
            unreadable.append(f"{record} ({error})")
            continue
        if not any(name in tags for name in USUAL):
            unreadable.append(
                f"{record} (it has none of {', '.join(USUAL)}: its transfer syntax may be another)"
            )
            continue
        if _text(tags, "SOPClassUID") in SEGMENTATIONS:
            continue
        traced = "Modality" in wanted and _text(tags, "SOPClassUID").startswith(WAVEFORMS)
        if not _kept(tags, wanted):
            continue
        if not ("Rows" in tags or traced):
            if _of_images(tags):
                unreadable.append(f"{record} (it is cut before its pixels)")
            continue
        for name in KIND:
            word = _word(tags, name)
            kinds[name][word] += 1
            example.setdefault((name, word), record)
        values = _values(tags)
        strange.update(name for name, value in values.items() if not _known(name, value))
        known = {name: value for name, value in values.items() if _known(name, value)}
        images.append(TaggedImage(record, _text(tags, "SOPInstanceUID"), _text(tags, "PatientID"), known))
    if unreadable:
        raise InputError(
            f"{folder}: {len(unreadable)} of {len(paths)} files cannot be read as DICOM: {listed(unreadable)}; "
            "mend or move them, or name the right ones by dicom: PATTERN in dataset.yaml"
        )
    if not images:
        kept = f" with {wanted}" if wanted else ""
        raise InputError(f"{folder}: no DICOM image{kept} among {len(paths)} files that match {pattern!r}")
    _require_one_kind(folder, kinds, wanted, example)
    for name, count in strange.items():
        remark(f"{folder}: {name} is out of range in {count} files: taken as unknown")
    return images


def _paths(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if _counts(path.name) and not path.is_dir())
    except (ValueError, NotImplementedError) as error:  # an empty or an absolute pattern
        raise InputError(f"{folder}: dicom: {pattern!r} is not a pattern of files ({error})") from None


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != CATALOGUE


def _is_dicom(path: Path) -> bool:
    """By the mark behind the preamble (PS3.10 7.1)."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read(path: Path, keywords: Sequence[str]) -> "Dataset":
    """Some tags of a file, decoded. Raises InputError with the reason."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")  # values that bend the standard are common
            tags = read_object(path, pixels=False, tags=keywords)
            tags.decode()
            return tags
    except InvalidDicomError:
        raise InputError("it is not DICOM") from None
    except (
        BytesLengthException, AttributeError, LookupError, NotImplementedError, OSError, EOFError, TypeError,
        ValueError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        raise InputError(first_line(error)) from None


def _wanted(keep: Mapping[str, Any], folder: Path) -> Keep:
    """`keep` with lists of capitals. Raises InputError for what is not a DICOM keyword."""
    from pydicom.datadict import tag_for_keyword

    for name in keep:
        if tag_for_keyword(name) is None:
            raise InputError(f"{folder}: keep: {name!r} is not a DICOM keyword, such as BodyPartExamined")
    return {
        name: [str(value).upper() for value in (values if isinstance(values, list) else [values])]
        for name, values in keep.items()
    }


def _kept(tags: "Dataset", wanted: Keep) -> bool:
    return all(set(_text(tags, name).upper().split("\\")) & set(values) for name, values in wanted.items())


def _require_one_kind(
    folder: Path, kinds: Mapping[str, Counter[str]], wanted: Keep, example: Mapping[tuple[str, str], str]
) -> None:
    for name, counts in kinds.items():
        counts.pop("", None)
        if len(counts) > 1 and name not in wanted:
            mixed = ", ".join(
                f"{value} ({count}, as {example[name, value]})" for value, count in counts.most_common(10)
            )
            raise InputError(
                f"{folder}: expected one kind of image, {name} is {mixed}; say which to take by "
                f"keep: {{{name}: [...]}} in dataset.yaml; naming several mixes them"
            )


def _of_images(tags: "Dataset") -> bool:
    """Whether an object is of a class of images, which have rows."""
    from pydicom.uid import UID

    return UID(_text(tags, "SOPClassUID")).name.endswith("Image Storage")


def _word(tags: "Dataset", name: str) -> str:
    value = _text(tags, name).upper()
    return ALIKE.get(value, value)


def _text(tags: "Dataset", name: str) -> str:
    """A value as text, several separated as in DICOM; empty where it is absent."""
    from pydicom.multival import MultiValue

    value = tags.get(name)
    values = value if isinstance(value, MultiValue) else [value]
    return "\\".join("" if part is None else str(part).strip() for part in values)


def _values(tags: "Dataset") -> dict[str, Value]:
    """Profile values that the tags give, in the vocabulary's units, ranges not yet checked."""
    height = _number(tags, "PatientSize")  # m
    chest = _text(tags, "BodyPartExamined").upper() in CHEST
    found: dict[str, Value | None] = {
        "age": _age(tags),
        "sex": _text(tags, "PatientSex").upper(),
        "height": None if height is None else 100 * height,
        "weight": _number(tags, "PatientWeight"),  # kg
        "chest_view": _text(tags, "ViewPosition").upper() if chest else None,
    }
    return {
        name: value
        for name, value in found.items()
        if value is not None and (BY_NAME[name].kind == "number" or value in BY_NAME[name].classes)
    }


def _known(name: str, value: Value) -> bool:
    known = BY_NAME[name]
    return known.kind != "number" or known.low <= float(value) <= known.high


def _number(tags: "Dataset", name: str) -> float | None:
    """A number; None where it is absent, not a number, or the 0 that scanners write for unknown."""
    try:
        return float(_text(tags, name)) or None
    except ValueError:
        return None


def _age(tags: "Dataset") -> float | None:
    """Years: PatientAge, else from birth to study; None where neither is well formed."""
    if stated := re.fullmatch(r"(\d{1,3})([DWMY])", _text(tags, "PatientAge").upper()):
        return int(stated[1]) / A_YEAR[stated[2]]
    try:
        born, seen = (date.fromisoformat(_text(tags, name)) for name in ("PatientBirthDate", "StudyDate"))
    except ValueError:
        return None
    return round((seen - born).days / 365.25, 2)
