"""UIDs of a record's DICOM objects: they follow everything that the objects hold, so that no two share one."""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from .modality import Record
from .profile import PatientProfile, derived_uid, uid_for

STUDY = ("study_uid", "series_uid", "instance_uid")


def identified(
    record: Record, profile: PatientProfile, seed: int, study: Mapping[str, Any], settings: Mapping[str, Any]
) -> Record:
    """The record with the facts STUDY.

    The study's UID follows the seed, the profile and `study`, which is what its tags state. Those of series and
    instance also follow arrays, facts and `settings`, which are those of the files. The same gives the same.
    """
    visit = _digest({"seed": seed, "profile": profile.to_dict(), "study": study})
    content = _digest(
        {"study": visit, "facts": record.facts, "settings": settings, "arrays": _arrays(record)}
    )
    uids = {
        "study_uid": uid_for(visit, "study"),
        "series_uid": uid_for(content, "series"),
        "instance_uid": uid_for(content, "instance"),
    }
    return replace(record, facts={**record.facts, **uids})


def changed(record: Record) -> Record:
    """The record, whose arrays were changed after it was identified, with UIDs of series and instance that follow."""
    if "series_uid" not in record.facts:
        return record
    content = f"changed {_digest(_arrays(record))}"
    uids = {name: derived_uid(record.facts[name], content) for name in STUDY[1:]}
    return replace(record, facts={**record.facts, **uids})


def mask_uids(facts: Mapping[str, Any]) -> tuple[str, str]:
    """UIDs of the series and the instance of the segmentation of an identified image: hashes of the image's."""
    return derived_uid(facts["series_uid"], "segmentation"), derived_uid(
        facts["instance_uid"], "segmentation"
    )


def _arrays(record: Record) -> dict[str, Any]:
    """Kind, shape and hash of each array."""
    return {
        name: [
            str(array.dtype), array.shape, blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()
        ]
        for name, array in record.arrays.items()
    }  # fmt: skip


def _digest(content: Mapping[str, Any]) -> int:
    text = json.dumps(content, sort_keys=True, default=str)
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")
