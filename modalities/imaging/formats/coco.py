"""Masks of a cohort's images as COCO JSON: a box and a region for each connected component of each label."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .... import __version__
from ....core.modality import Record
from ....core.profile import PatientProfile, slice_uid
from ....core.types import AnyArray, BoolArray

NAME = "dicom/annotations.json"  # of a cohort, and of the slices of patients that it is joined from
TOUCHING = np.ones((3, 3), dtype=int)  # pixels that touch at a corner are of one component


def write(records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path) -> list[Path]:
    """The annotations of these patients, below `folder`; nothing where no record has a mask. The paths written."""
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] = []
    for record, profile in zip(records, profiles, strict=True):
        if "mask" not in record.arrays:
            continue
        names = record.facts["mask_labels"]
        categories = [{"id": n, "name": one["label"], **one["codes"]} for n, one in enumerate(names, start=1)]
        facts, mask = record.facts, record.arrays["mask"]
        series = PurePosixPath(profile.patient_id, facts["study_uid"], facts["series_uid"])
        for place, plane in enumerate(mask.reshape(-1, *mask.shape[-2:])):
            uid = slice_uid(facts["series_uid"], facts["instance_uid"], place)
            number, (rows, columns) = len(images) + 1, plane.shape
            images.append(
                {
                    "id": number, "file_name": f"{series}/{uid}.dcm", "width": columns, "height": rows,
                    "patient_id": profile.patient_id,
                }
            )  # fmt: skip
            boxes += [{"id": 0, "image_id": number, **box} for box in components(plane, len(names))]
    return _save(folder / NAME, images, boxes, categories)


def components(mask: AnyArray, labels: int) -> Iterator[dict[str, Any]]:
    """Each connected component of each label of (row, column): box (x, y, width, height in pixels), area, region."""
    from scipy.ndimage import find_objects, label

    for number in range(1, labels + 1):
        parts, _ = label(mask == number, structure=TOUCHING)
        for part, (rows, columns) in enumerate(find_objects(parts), start=1):
            here = parts == part
            yield {
                "category_id": number,
                "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
                "area": int(here.sum()),
                "iscrowd": 0,
                "segmentation": {"size": list(mask.shape), "counts": run_lengths(here)},
            }


def run_lengths(here: BoolArray) -> list[int]:
    """COCO's uncompressed code of a region: lengths of runs of 0 and 1 in turn, column by column, 0 first."""
    flat = here.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    found = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return [0, *found] if flat[0] else found


def join(pieces: Iterable[Path], folder: Path) -> list[Path]:
    """One file of what write() made below each folder, numbered through; none where there is nothing."""
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] = []
    for piece in pieces:
        if not (path := piece / NAME).is_file():
            continue
        part: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        before = len(images)
        images += [{**one, "id": before + one["id"]} for one in part["images"]]
        boxes += [{**one, "image_id": before + one["image_id"]} for one in part["annotations"]]
        categories = part["categories"]
    return _save(folder / NAME, images, boxes, categories)


def _save(
    path: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> list[Path]:
    if not images:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    info = {
        "description": "SYNTHETIC images: no image is of a person",
        "version": f"polyclinic {__version__}",
    }
    numbered = [{**one, "id": number} for number, one in enumerate(boxes, start=1)]
    whole = {
        "info": info,
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": numbered,
    }
    path.write_text(json.dumps(whole) + "\n", encoding="utf-8")
    return [path]
