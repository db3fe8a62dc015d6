"""Images as DICOM objects: which kind a record becomes, its instances, and each with its modules (PS3.3 A)."""

import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom import Dataset

from ....core.body_parts import BODY_PART, REGIONS, UNPAIRED
from ....core.dicom_patient import add_equipment, add_patient, started
from ....core.errors import InputError
from ....core.modality import Facts, Record
from ....core.profile import PatientProfile, slice_uid
from . import modules, photographs, projections, sections
from .kinds import KINDS, check_kind, default_kind, is_colour, stored
from .modules import GREYS, Slice

RADIOGRAPHS = ("DX", "CR", "MG")  # whose view is part of what they are called


@dataclass(frozen=True)
class Content:
    """The tags of a kind of object: image type, its specific modules, and what is the same in every image."""

    image_type: tuple[str, ...]
    add: Callable[[Dataset, Facts, Slice], None]
    tags: Mapping[str, Any] = field(default_factory=dict)


IODS: Mapping[str, Content] = {
    "DX": Content(("PRIMARY",), projections.add_dx, projections.DX),
    "CR": Content(("PRIMARY",), projections.add_cr, projections.CR),
    "MG": Content(("PRIMARY",), projections.add_mg, projections.MG),
    "XA": Content(("PRIMARY", "SINGLE PLANE"), projections.add_xa, projections.XA),
    "CT": Content(("PRIMARY", "AXIAL"), sections.add_ct, sections.CT),
    "MR": Content(("PRIMARY", "OTHER"), sections.add_mr, sections.MR),
    "PT": Content(("PRIMARY",), sections.add_pt, sections.PT),
    "NM": Content(("PRIMARY",), sections.add_nm, sections.NM),
    "US": Content(("PRIMARY",), photographs.add_us, photographs.US),
    "OP": Content(("PRIMARY",), photographs.add_op, photographs.OP),
    "ES": Content(("PRIMARY",), photographs.add_visible, photographs.VISIBLE),
    "GM": Content(("PRIMARY",), photographs.add_visible, photographs.VISIBLE),
    "XC": Content(("PRIMARY",), photographs.add_visible, photographs.VISIBLE),
    "DMS": Content(("PRIMARY",), photographs.add_dms, photographs.DMS),
    "SC": Content(("SECONDARY",), photographs.add_sc, photographs.SC),
}


def kind_of(record: Record, asked: str | None = None) -> str:
    """Which object a record becomes: what is asked, else what its facts say, else SC in colour and DX in grey.

    Raises InputError where the object cannot hold the image.
    """
    image, region = record.arrays["image"], record.facts["body_part"]
    colour = is_colour(image)
    kind = asked or record.facts.get("iod") or default_kind(colour)
    if region and not re.fullmatch(BODY_PART, region):
        raise InputError(f"body part {region!r}: DICOM takes 1 to 16 capitals, digits, spaces, underscores")
    check_kind(kind, colour, len(image) if image.ndim == 3 and not colour else 1, region)
    if kind == "DX" and region not in ("", *REGIONS):
        known = ", ".join(REGIONS)
        raise InputError(f"iod: DX needs a body part with a code ({known}), got {region}; write CR instead")
    return kind


def check_date(kind: str, profile: PatientProfile) -> None:
    """Raises InputError where the object needs a date and the patient has none."""
    if KINDS[kind].dated and profile.index_date is None:
        raise InputError(
            f"iod: {kind} needs a date, patient {profile.patient_id} has no index_date; give one, or write SC"
        )


def plane_shape(record: Record) -> tuple[int, int]:
    """Rows and columns of each instance of a record."""
    image = record.arrays["image"]
    rows, columns = image.shape[:2] if image.ndim == 2 or is_colour(image) else image.shape[1:]
    return rows, columns


def slices(record: Record, kind: str) -> Iterator[Slice]:
    """The instances of a record, in order; the first has the record's instance UID, the others derive theirs."""
    image, facts = record.arrays["image"], record.facts
    assert image.ndim in (2, 3), f"expected an image or slices, got {image.shape}"
    assert image.dtype in (np.uint8, np.uint16), f"expected uint16 or uint8 pixels, got {image.dtype}"
    assert image.max() < GREYS, f"expected {modules.BITS}-bit pixels, the greatest is {image.max()}"
    image = stored(image, kind)
    if image.ndim == 2 or is_colour(image) or KINDS[kind].frames:
        yield Slice(image, 0, 1, facts["instance_uid"])
        return
    said = facts.get("slices", 1)  # which the health record lists
    assert said == len(image), f"expected the fact slices to be {len(image)}, got {said}"
    for place, pixels in enumerate(image):
        yield Slice(pixels, place, len(image), slice_uid(facts["series_uid"], facts["instance_uid"], place))


def dataset_of(part: Slice, record: Record, profile: PatientProfile, kind: str) -> Dataset:
    """The whole object of one slice, not compressed; the same for the same arguments."""
    holds, content, facts = KINDS[kind], IODS[kind], record.facts
    dataset = started(holds.sop_class, part.uid)
    add_patient(dataset, profile)
    modules.add_study(dataset, facts, profile)
    region = REGIONS.get(facts["body_part"], ("", "", facts["body_part"]))[2].lower()
    volume = holds.series and not (holds.frames and part.pixels.ndim == 2)
    aspect = facts.get("plane", "axial") if volume else (facts["view"] or "") if kind in RADIOGRAPHS else ""
    dataset.StudyDescription = " ".join(f"Synthetic {region} {holds.noun}".split())
    dataset.SeriesDescription = " ".join(f"Synthetic {aspect} {region} {holds.noun}".split())
    add_equipment(dataset, "Synthetic image generator", holds.modality)
    modules.add_region(dataset, facts["body_part"])
    modules.add_image(dataset, facts, content.image_type)
    modules.add_pixels(dataset, part.pixels, holds.bits)
    dataset.Modality = holds.modality
    dataset.InstanceNumber = str(part.place + 1)
    for keyword, value in content.tags.items():
        setattr(dataset, keyword, deepcopy(value))
    content.add(dataset, facts, part)
    if "ImageLaterality" not in dataset and facts["body_part"] not in UNPAIRED:
        dataset.Laterality = facts.get("laterality") or ""
    return dataset
