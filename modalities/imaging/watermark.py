"""The watermark of an image: parity of its grey levels (12 bits) or colour levels (8 bits)."""

from ...core.cohort.watermark import Mark, Tally
from ...core.modality import Record

IMAGE = "image"


def mark(record: Record, key: Mark, patient_id: str) -> Record:
    """The record with a marked image; no level moves by more than one."""
    image = key.put(record.arrays[IMAGE], patient_id, IMAGE)
    return Record({**record.arrays, IMAGE: image}, record.facts)


def marks(record: Record, key: Mark, patient_id: str) -> Tally:
    """How far the image agrees with the marks."""
    return key.read(record.arrays[IMAGE], patient_id, IMAGE)
