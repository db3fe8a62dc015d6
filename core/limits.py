"""Limits: what the numbers may be that a user gives to commands and functions, in one table and one check."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from .errors import InputError


@dataclass(frozen=True)
class Limit:
    """From `low` to `high`, both allowed unless `above`: then more than `low`. Whole numbers, or any finite ones."""

    low: float
    high: float
    whole: bool = True
    above: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.above:
            return f"{kind} above {self.low:,g} and at most {self.high:,g}"
        return f"{kind} from {_plain(self.low)} to {_plain(self.high)}"


def _plain(number: float) -> str:
    return {2**63 - 1: "2^63 - 1", -(2**63): "-2^63"}.get(int(number), f"{number:,g}")


SEED = Limit(-(2**63), 2**63 - 1)
LIMITS = {
    "patients": Limit(1, 10**9),
    "workers": Limit(1, 4096),
    "batch_size": Limit(1, 65_536),
    "seed": SEED,
    "sets": Limit(3, 1000),
    "regenerate": Limit(0, 1000),
    "epsilon": Limit(0, 1e6, whole=False, above=True),
    "delta": Limit(0, 1, whole=False, above=True),
    "level": Limit(0, 1, whole=False, above=True),
    "limit": Limit(0, 1e6, whole=False, above=True),
    "max_minutes": Limit(0, 1e6, whole=False, above=True),
    "devices": Limit(1, 4096),
    "port": Limit(0, 65_535),
    "seconds": Limit(0, 1e9, whole=False, above=True),
}


def require(**values: Any) -> None:
    """Raises InputError for a number that its limit does not allow; None is not set.

    >>> require(patients=3, seed=None)
    >>> require(max_minutes=float("nan"))
    Traceback (most recent call last):
    polyclinic.core.errors.InputError: --max-minutes must be a number above 0 and at most 1e+06, got nan
    """
    for name, value in values.items():
        limit = LIMITS[name]
        if value is None:
            continue
        number = isinstance(value, Integral if limit.whole else Real) and not isinstance(value, bool)
        if not number or not limit.low <= value <= limit.high or (limit.above and value == limit.low):
            said = repr(value)
            said = said if len(said) < 40 else f"{said[:20]}... ({len(said)} characters)"
            raise InputError(f"--{name.replace('_', '-')} must be {limit}, got {said}")
