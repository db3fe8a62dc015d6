"""Ids of patients and samples as text, and the join of two tables whose ids are spelt in different ways."""

import math
import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

from .errors import InputError, listed
from .remarks import remark

_WHOLE = re.compile(r"([+-]?)0*(\d+)(?:\.0*)?")


def id_text(value: Any) -> str:
    """An id as text: 7, 7.0 and "7" are "7", "0007" and "101E2" stay as they are; blank and missing ids are ""."""
    if value is None or (not isinstance(value, str) and str(value) in ("nan", "NaT", "<NA>")):
        return ""
    if isinstance(value, Real) and not isinstance(value, bool):
        number = float(value)
        if isinstance(value, Integral):
            return str(int(value))
        if math.isfinite(number) and number.is_integer():
            return str(int(number))
    return str(value).strip()


def require_ids(values: Iterable[Any], column: str, where: str) -> list[str]:
    """Ids as text. Raises InputError that names the rows without one (the first row of data is row 2)."""
    ids = [id_text(value) for value in values]
    if blank := [str(row) for row, text in enumerate(ids, 2) if not text]:
        raise InputError(
            f"{where}: {len(blank)} of {len(ids)} rows have no {column!r}: row {listed(blank)}; privacy is counted by "
            "patient, so every row needs an id"
        )
    return ids


def spelling(text: str) -> str:
    """What spellings of one number share: "0012", "12" and "12.0" are "12"; any other id is itself."""
    found = _WHOLE.fullmatch(text)
    return f"{found[1].replace('+', '')}{found[2]}" if found else text


def match_ids(wanted: Sequence[str], there: Sequence[str], what: str) -> dict[str, str]:
    """For each wanted id the id in `there` that means the same; ids that meet nobody are left out.

    Ids that are equal meet. The others meet by their number (`0012`, `12`, `12.0`), which is remarked, provided
    that the number names one id on either side. `what` says which tables are joined. Raises InputError where a
    number names several.
    """
    known = set(there)
    joined = {name: name for name in wanted if name in known}
    left = [name for name in dict.fromkeys(wanted) if name not in joined]
    free = [name for name in dict.fromkeys(there) if name not in joined]
    by_number = _grouped(free)
    doubtful, respelt = [], {}
    for number, names in _grouped(left).items():
        others = by_number.get(number, [])
        if others and (len(others) > 1 or len(names) > 1):
            doubtful.append(f"{', '.join(names)} and {', '.join(others)}")
        elif others:
            respelt[names[0]] = others[0]
    if doubtful:
        raise InputError(
            f"{what}: ids are spelt in different ways and {len(doubtful)} cannot be matched: {listed(doubtful, 3)}; "
            "write each id the same way in both"
        )
    if respelt:
        name, other = next(iter(respelt.items()))
        remark(
            f"{what}: {len(respelt)} ids are spelt differently ({name} and {other}) and joined by their number"
        )
    return {**joined, **respelt}


def _grouped(names: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(spelling(name), []).append(name)
    return groups
