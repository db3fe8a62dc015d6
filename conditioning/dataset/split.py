"""Which patients of a training folder are held out: as its table says, or a fixed share by the hash of their ids."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from ...core.config import DatasetConfig
from ...core.errors import InputError, listed

TEST_SHARE = 0.2


def is_in(split: str, patient_id: str, test_share: float) -> bool:
    """Whether a patient belongs to a split: to "test" where the 64-bit BLAKE2b hash of the id is in the lowest share.

    Fixed for ever, whichever other patients there are.
    """
    digest = blake2b(patient_id.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") < test_share * 2**64) == (split == "test")


def require_apart(patients: Iterable[Any], splits: Iterable[Any], config: DatasetConfig, where: str) -> None:
    """Raises InputError naming patients with rows in both splits, so that a test would see training patients."""
    sides: dict[str, set[Any]] = {}
    for patient, side in zip(patients, splits, strict=True):
        sides.setdefault(str(patient), set()).add(side)
    if both := [patient for patient, found in sides.items() if {config.train, config.test} <= found]:
        raise InputError(
            f"{where}: {len(both)} patients have rows of both {config.train!r} and {config.test!r}: "
            f"{listed(both)}; put all rows of a patient in one split"
        )
