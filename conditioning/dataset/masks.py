"""Where the mask of each image of a training folder is: in a column, at a path made of the image's, or told by tags."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.config import DatasetConfig
from ...core.dicom_patient import SEGMENTATIONS, broken, read_object
from ...core.errors import InputError, first_line, listed
from ...core.ids import id_text
from ...core.paths import below

OF_RECORD = Callable[
    [str, Mapping[Any, Any], str], str
]  # record, its table's cells, its UID -> path or nothing


def mask_finder(config: DatasetConfig, folder: Path) -> OF_RECORD:
    """The path of a record's mask below `folder`; empty where it has none. Raises InputError."""
    mask = config.mask
    if mask is None:
        return lambda record, cells, uid: ""
    if "{" in mask:
        _made(mask, "a/b.png")
        return lambda record, cells, uid: _there(folder, _made(mask, record))
    if "*" in mask:
        if not config.dicom:
            raise InputError(
                f"{folder}: mask: {mask} is a pattern of DICOM segmentations, which name images by UID; it needs "
                "`dicom: PATTERN`; without it give a column of the table, or a path such as masks/{stem}.png"
            )
        found = _by_image(folder, mask)
        return lambda record, cells, uid: found.get(uid, "")
    if not config.table:
        raise InputError(
            f"{folder}: mask: {mask} is a column and there is no table; give `table: FILE`, a path such as "
            "masks/{stem}.png, or a pattern of DICOM segmentations such as seg/*.dcm"
        )

    def of_cells(record: str, cells: Mapping[Any, Any], uid: str) -> str:
        name = id_text(cells.get(mask))
        return below(folder, name, f"{folder}: {mask}").relative_to(folder).as_posix() if name else ""

    return of_cells


def mask_columns(config: DatasetConfig) -> list[str]:
    """The table's column of masks, where it has one."""
    return [] if config.mask is None or set("{*") & set(config.mask) else [config.mask]


def require_own_masks(masks: Sequence[str], patients: Sequence[str], where: Path) -> None:
    """Raises InputError where one file is the mask of two patients: it belongs to one patient's record."""
    owners: dict[str, str] = {}
    twice = [m for m, p in zip(masks, patients, strict=True) if m and owners.setdefault(m, p) != p]
    if twice:
        raise InputError(
            f"{where}: {len(twice)} masks are named for images of two patients: {listed(sorted(set(twice)))}; a mask "
            "is part of one patient's record, so give each a file of his own"
        )


def _made(rule: str, record: str) -> str:
    """The path that a rule makes of a record's. Raises InputError."""
    path = PurePosixPath(record)
    stem = path.name.partition(".")[0] if path.name.lower().endswith(".nii.gz") else path.stem
    parts = {"folder": path.parent.as_posix(), "stem": stem, "name": path.name}
    made = re.sub(r"\{(\w*)\}", lambda found: parts.get(found[1], found[0]), rule)
    if set("{}") & set(re.sub(r"\{(folder|stem|name)\}", "", rule)):
        known = ", ".join(f"{{{part}}}" for part in parts)
        raise InputError(f"mask: {rule} cannot be made into a path; expected {known} of the image's path")
    return PurePosixPath(made).as_posix()


def _there(folder: Path, name: str) -> str:
    return name if below(folder, name, f"{folder}: mask").is_file() else ""


def _by_image(folder: Path, pattern: str) -> dict[str, str]:
    """SOP instance UID of an image -> path of the segmentation that names it. Raises InputError."""
    try:
        paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"{folder}: mask: {pattern!r} is not a pattern of files ({error})") from None
    found: dict[str, str] = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            tags = read_object(path, pixels=False)
            if str(tags.get("SOPClassUID")) not in SEGMENTATIONS:
                continue
            images = [
                str(image.ReferencedSOPInstanceUID)
                for series in tags.get("ReferencedSeriesSequence", ())
                for image in series.get("ReferencedInstanceSequence", ())
            ]
        except broken() as error:
            raise InputError(
                f"{path}: cannot be read as a DICOM segmentation ({first_line(error)})"
            ) from None
        for uid in images:
            if found.setdefault(uid, name) != name:
                raise InputError(
                    f"{folder}: {found[uid]} and {name} are both of the image {uid}; expected one segmentation an image"
                )
    if not found:
        raise InputError(f"{folder}: mask: {pattern} finds no DICOM segmentation that names an image")
    return found
