"""Verdict: the checks of a policy on one cohort, and what follows; what was not measured has not passed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

TERMS, ONE, TWO, APPROVALS = "terms", "gate one", "gate two", "approvals"
GATES = (TERMS, ONE, TWO, APPROVALS)


@dataclass(frozen=True)
class Check:
    """One line of a verdict. value None: not measured, and `why` says why; then it has not passed either."""

    key: str  # as policies name it: c2st_auc/ecg
    gate: str
    what: str
    value: float | None
    limit: float
    at_most: bool = True
    modality: str | None = None  # whose records another draw could mend
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether there is a figure and it keeps the limit."""
        if self.value is None:
            return False
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        bound = f"at {'most' if self.at_most else 'least'} {self.limit:.4g} is asked for"
        if self.value is not None:
            return f"{self.gate}: {self.what}: {self.value:.4g}; {bound}"
        if self.gate == APPROVALS:
            return f"{self.gate}: {self.what}: {self.why}"
        return f"{self.gate}: {self.what}: not measured ({self.why or 'no figure'}); {bound}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        limit = {"at_most" if self.at_most else "at_least": self.limit}
        about = {"modality": self.modality, "not_measured_because": self.why if self.value is None else None}
        return {"check": self.key, "gate": self.gate, "what": self.what, "value": self.value, **limit,
                "passed": self.passed, **{k: v for k, v in about.items() if v}}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Every check of a policy on one cohort; `excused` are the patterns of those that may lack a figure."""

    policy: str
    checks: tuple[Check, ...]
    excused: tuple[str, ...]

    @property
    def failed(self) -> list[Check]:
        """Checks with a figure beyond its limit: no further measuring mends these."""
        return [c for c in self.checks if c.value is not None and not c.passed]

    @property
    def unmeasured(self) -> list[Check]:
        """Checks without a figure, allowed or not; an approval is none to measure."""
        return [c for c in self.checks if c.value is None and c.gate != APPROVALS]

    @property
    def lacking(self) -> list[Check]:
        """Checks without a figure that the policy insists on."""
        return [c for c in self.unmeasured if not any(fnmatchcase(c.key, p) for p in self.excused)]

    @property
    def unspoken(self) -> list[Check]:
        """Approvals that have not come."""
        return [c for c in self.checks if c.value is None and c.gate == APPROVALS]

    @property
    def passed(self) -> bool:
        """Whether every check passed, apart from those that may lack a figure; never on nothing at all."""
        return any(c.passed for c in self.checks) and not self._against

    @property
    def refused_by(self) -> str | None:
        """The first of terms, gate one, gate two and approvals that says no."""
        said = {c.gate for c in self._against}
        return next((gate for gate in GATES if gate in said), None)

    @property
    def reasons(self) -> list[str]:
        """Why not, a plain line each: terms, gate one, gate two, approvals."""
        return [str(c) for c in sorted(self._against, key=lambda c: GATES.index(c.gate))]

    @property
    def mendable(self) -> set[str]:
        """Modalities whose new draw could turn the verdict; empty when more than figures of theirs is in the way.

        Approvals are no hindrance: they are given to a cohort whose figures have passed.
        """
        owners = {c.modality for c in self.failed}
        return set() if self.lacking or None in owners else {name for name in owners if name}

    @property
    def _against(self) -> list[Check]:
        return [*self.failed, *self.lacking, *self.unspoken]


_UNMEASURED = re.compile(
    r"(?P<gate>[^:]+): .+: not measured \((?P<why>.+)\); at (?:most|least) "
)  # see Check.__str__


def grouped(reasons: Sequence[str]) -> list[str]:
    """The reasons of a verdict with those of one gate that are not measured for the same cause in one line.

    >>> grouped(["gate two: a: not measured (b); at most 1 is asked for", "gate two: c: not measured (b); at most "])
    ['gate two: 2 figures not measured (b)']
    """
    lines: dict[object, list[str]] = {}
    for reason in reasons:
        found = _UNMEASURED.match(reason)
        lines.setdefault((found["gate"], found["why"]) if found else reason, []).append(reason)
    return [
        f"{cause[0]}: {len(alike)} figures not measured ({cause[1]})"
        if isinstance(cause, tuple) and len(alike) > 1
        else alike[0]
        for cause, alike in lines.items()
    ]
