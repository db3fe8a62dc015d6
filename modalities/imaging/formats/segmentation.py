"""Masks as DICOM segmentations of their images, written by highdicom, and back."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from .... import __version__
from ....core.config import MaskLabel
from ....core.dicom_patient import IMPLEMENTATION_UID, add_equipment
from ....core.identity import mask_uids
from ....core.modality import Facts, Record
from ....core.profile import derived_uid
from ....core.study import UTC_OFFSET
from . import modules

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

ABNORMAL = ("lesion", "nodule", "mass", "neoplasm", "tumour", "tumor", "melanoma", "pneumothorax", "effusion")
CATEGORIES = {
    True: ("49755003", "SCT", "Morphologically Abnormal Structure"),
    False: ("91723000", "SCT", "Anatomical Structure"),
}
OURS = "99POLYCLINIC"  # scheme of labels that have no SNOMED CT code
CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
MULTI_FRAME = ("XA", "NM", "OP")  # classes whose single image highdicom takes for one frame of several


def segmentation(record: Record, images: Sequence[Dataset]) -> "Segmentation":
    """The mask of a record over the image or slices that it was written to; the same for the same arguments.

    A segment a label, each with a frame over every image, empty where the label is not there. It has the study, patient
    and frame of reference of the images, and a series of its own.
    """
    from highdicom import PixelMeasuresSequence
    from highdicom.seg import Segmentation

    facts, mask = record.facts, record.arrays["mask"]
    labels, kind = labels_of(facts), str(facts["iod"])
    series, instance = mask_uids(facts)
    measures = None
    if kind in MULTI_FRAME:
        measures = PixelMeasuresSequence([facts["pixel_spacing_mm"]] * 2, None)
    made = Segmentation(
        [_source(image, measures) for image in images],
        mask.reshape(-1, *mask.shape[-2:]),
        "BINARY",
        [_description(number, one) for number, one in enumerate(labels, start=1)],
        series,
        2,
        instance,
        1,
        "Polyclinic",
        "Synthetic image generator",
        f"polyclinic {__version__}",
        "SYNTHETIC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="MASK",
        content_description=modules.SYNTHETIC,
        series_description=f"Synthetic segmentation: {', '.join(one.label for one in labels)}"[:64].strip(),
        omit_empty_frames=False,
    )
    _finished(made, images[0], series)
    return made


def _source(image: Dataset, measures: Any) -> Dataset:
    """An image's tags without its pixels; without a place in space highdicom wants no frame of reference either."""
    source = Dataset()
    source.file_meta = image.file_meta
    for element in image:
        if element.keyword != "PixelData":
            source[element.tag] = element
    if "ImagePositionPatient" not in source and "FrameOfReferenceUID" in source:
        del source.FrameOfReferenceUID
    if measures is not None:
        source.NumberOfFrames = 1
        source.SharedFunctionalGroupsSequence = [Dataset()]
        source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = measures
    return source


def _description(number: int, label: MaskLabel) -> "SegmentDescription":
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    abnormal = any(word in label.label.casefold() for word in ABNORMAL)
    learnt = CodedConcept("123109", "DCM", "Artificial Intelligence")
    return SegmentDescription(
        number,
        label.label,
        segmented_property_category=CodedConcept(*CATEGORIES[abnormal]),
        segmented_property_type=CodedConcept(*_code(label)),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence("Polyclinic", learnt, __version__),
    )


def _code(label: MaskLabel) -> tuple[str, str, str]:
    if "snomed" in label.codes:
        return label.codes["snomed"], "SCT", label.label
    name = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in label.label.upper())
    return name[:16], OURS, label.label


def _finished(made: Dataset, image: Dataset, series: str) -> None:
    """What highdicom draws by chance or takes from the clock, and what every file of ours says."""
    made.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    made.file_meta.ImplementationVersionName = "POLYCLINIC"
    made.SyntheticData = "YES"
    made.TimezoneOffsetFromUTC = UTC_OFFSET
    add_equipment(made, "Synthetic image generator", "SEG")
    made.StudyDescription = image.StudyDescription
    organization = derived_uid(series, "dimensions")
    for sequence in (made.DimensionOrganizationSequence, made.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = organization
    day, clock = image.get("ContentDate") or "19000101", image.get("ContentTime") or "000000"
    for what in ("InstanceCreation", "Content"):
        setattr(made, f"{what}Date", day)
        setattr(made, f"{what}Time", clock)
    if "SeriesDate" in image:
        made.SeriesDate, made.SeriesTime = image.SeriesDate, image.SeriesTime
    for item in made.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = f"{day}{clock}"
    if "FrameOfReferenceUID" not in made:
        made.PatientOrientation = ""
        # a projection has no slice thickness, without which highdicom reads no pixel measures; the image has them
        made.SharedFunctionalGroupsSequence[0].pop("PixelMeasuresSequence", None)
        if "FrameOfReferenceUID" in image:
            made.FrameOfReferenceUID = image.FrameOfReferenceUID
            made.PositionReferenceIndicator = image.get("PositionReferenceIndicator", "")


def labels_of(facts: Facts) -> list[MaskLabel]:
    """What the mask of a record shows, the first label first."""
    return [MaskLabel.model_validate(one) for one in facts["mask_labels"]]


def read_mask(dataset: Dataset, uids: Sequence[str]) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """(row, column) labels over one image of a cohort, or (slice, row, column) over several, and what they are.

    `uids` are the images' SOP instance UIDs, in order. Raises what pydicom raises for a damaged file.
    """
    from ..masks import segments

    pixels = np.asarray(dataset.pixel_array)
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    place = {uid: number for number, uid in enumerate(uids)}
    mask = np.zeros((len(uids), *frames.shape[1:]), dtype=np.uint8)
    for segment, here, sources in segments(dataset, frames):
        for uid in sources:
            mask[place[uid]][here] = segment
    return mask[0] if len(uids) == 1 else mask, [_label(item) for item in dataset.SegmentSequence]


def _label(item: Dataset) -> dict[str, Any]:
    code = item.SegmentedPropertyTypeCodeSequence[0]
    known: Mapping[str, str] = {"snomed": str(code.CodeValue)} if code.CodingSchemeDesignator == "SCT" else {}
    return {"label": str(item.SegmentLabel), "codes": dict(known)}
