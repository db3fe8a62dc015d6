"""Watermark: a keyed statistical mark in the lowest step of samples, and how sure a reader with the key may be of it.

Where the marks are and what they say follows from the key, the patient id and the array's name. Without the key
they cannot be told from noise; whoever has the key can read them and also forge them, so it is kept secret.
"""

import math
import secrets
from dataclasses import dataclass
from hashlib import sha256, shake_256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..paths import require_file
from ..types import BoolArray
from .disk import require_new_file
from .signing import drop_part, write_secret

KEY_BYTES = 32
SHARE = 0.125  # of the samples that carry a mark; half of these are moved, by one step
PATIENT, COHORT = -6.0, -9.0  # log10 of the false-positive rate below which a mark counts as found
HEAD = "polyclinic watermark key\n"

Levels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Tally:
    """How many of the samples that would carry a mark agree with it."""

    agree: int = 0
    of: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.agree + other.agree, self.of + other.of)

    @property
    def log10_false_positive(self) -> float:
        """log10 of a bound on the chance that data which know nothing of the key agree so well.

        A wrong key's marks are fair coins, so agreement is binomial; its upper tail is at most
        exp(-n KL(agree / n, 1/2)) (Chernoff 1952).
        """
        if 2 * self.agree <= self.of:
            return 0.0
        share = self.agree / self.of
        rest = 0.0 if share == 1 else (1 - share) * math.log(2 * (1 - share))
        return -self.of * (share * math.log(2 * share) + rest) / math.log(10)


class Mark:
    """A key, and the marks that follow from it."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self.key = key

    @classmethod
    def new(cls, path: Path) -> "Mark":
        """Make a key in a new file that its owner alone may read. Raises InputError if a file is there."""
        drop_part(path)
        require_new_file(path)
        mark = cls(secrets.token_bytes(KEY_BYTES))
        write_secret(path, f"{HEAD}{mark.key.hex()}\n".encode())
        return mark

    @classmethod
    def load(cls, path: Path) -> "Mark":
        """The key of a file. Raises InputError."""
        require_file(path, "a watermark key")
        try:
            text = path.read_text(encoding="ascii")
            key = bytes.fromhex(text.removeprefix(HEAD)) if text.startswith(HEAD) else b""
        except OSError as error:
            raise InputError(f"{path}: the watermark key cannot be read ({error.strerror})") from None
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise InputError(f"{path}: expected a watermark key, as `polyclinic keys --watermark` makes it")
        return cls(key)

    @classmethod
    def named(cls, fingerprint: str, path: Path | None) -> "Mark":
        """The key of a cohort that carries a mark. Raises InputError if it is not given, or is another."""
        if path is None:
            raise InputError(
                f"the cohort carries the watermark of key {fingerprint}; give --watermark-key FILE"
            )
        mark = cls.load(path)
        if mark.fingerprint != fingerprint:
            raise InputError(f"{path}: is key {mark.fingerprint}; the cohort was marked with {fingerprint}")
        return mark

    @property
    def fingerprint(self) -> str:
        """What a manifest may say of the key: enough to recognise it, nothing to find it by."""
        return sha256(b"polyclinic watermark fingerprint" + self.key).hexdigest()[:16]

    def put(self, levels: Levels, patient_id: str, array: str, where: BoolArray | None = None) -> Levels:
        """Integer levels with marks in their parity; `where` says which may carry one. None moves by more than 1."""
        chosen, bits = self._marks(levels.shape, patient_id, array)
        moved = chosen & ((levels & 1) != bits)
        return levels ^ (moved if where is None else moved & where).astype(levels.dtype)

    def read(self, levels: Levels, patient_id: str, array: str, where: BoolArray | None = None) -> Tally:
        """How far the parity of levels agrees with the marks."""
        chosen, bits = self._marks(levels.shape, patient_id, array)
        chosen = chosen if where is None else chosen & where
        return Tally(int(((levels & 1) == bits)[chosen].sum()), int(chosen.sum()))

    def _marks(
        self, shape: tuple[int, ...], patient_id: str, array: str
    ) -> tuple[BoolArray, NDArray[np.uint16]]:
        """Which samples carry a mark, and the parity asked of each: two bytes of SHAKE-256 a sample."""
        count = math.prod(shape)
        name = f"{len(patient_id)}:{patient_id}:{array}".encode()
        words = np.frombuffer(shake_256(self.key + name).digest(2 * count), dtype="<u2").reshape(shape)
        return (words >> 1) < SHARE * 2**15, (words & 1).astype(np.uint16)
