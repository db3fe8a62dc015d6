"""Quarantine: the mark on a cohort that a policy has refused, which whatever shares cohorts must honour."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import Refused, listed
from .disk import write_atomic
from .journal import JUDGED, Journal

QUARANTINE = "quarantine.json"
LIFTED_BY = (
    "a later `polyclinic release` that passes. Figures beyond a limit stay refused under the same policy: draw "
    "another cohort (--regenerate), or have one judged by a policy for another purpose, which it states."
)


def put(folder: Path, details: Mapping[str, Any]) -> None:
    """Mark a cohort, with what the journal says of its refusal."""
    write_atomic(folder / QUARANTINE, content(details))


def content(details: Mapping[str, Any]) -> bytes:
    """The mark's bytes."""
    mark = {"quarantine": True, "lifted_by": LIFTED_BY, **details}
    return (json.dumps(mark, indent=1) + "\n").encode()


def lift(folder: Path) -> None:
    """Take the mark away."""
    (folder / QUARANTINE).unlink(missing_ok=True)


def reasons(folder: Path) -> Sequence[str]:
    """Why a cohort may not leave, by its journal's last verdict; empty if it may, or nobody has judged it.

    To delete the mark is not enough. Raises InputError if the journal was changed.
    """
    verdicts = [event for event in Journal(folder).events() if event.event == JUDGED]
    if verdicts:
        return () if verdicts[-1].details["passed"] else tuple(verdicts[-1].details["reasons"])
    return ("it is marked as refused and its journal is gone",) if (folder / QUARANTINE).exists() else ()


def require_free(folder: Path) -> None:
    """Raises Refused for a cohort in quarantine. To be called by all that exports, sends or shows a cohort."""
    if why := reasons(folder):
        raise Refused(f"{folder}: in quarantine: {listed(why, 3)}. Lifted by {LIFTED_BY}")
