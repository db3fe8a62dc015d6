"""Leads: the names of an ECG's leads, which of them are free, and how the others follow from I and II."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...core.modality import Facts, Record
from ...core.types import BoolArray, Float32Array, FloatArray, IntArray
from .layout import ELECTRODES, INDEPENDENT, LEADS, millivolts, twelve_leads

LIMB = {  # of I and II
    "I": (1.0, 0.0), "II": (0.0, 1.0), "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0),
}  # fmt: skip
EIGHT = tuple(LEADS[place] for place in INDEPENDENT)
# The lead that stands for one of an unknown name, in this order: the usual channels of a Holter first.
STAND_INS = ("II", "V5", "V1", "V2", "V3", "V4", "V6", "I")
MOST = 12
Real = TypeVar("Real", bound=np.floating[Any])
PREFIX = re.compile(r"^(?:ecg|ekg|lead|ableitung|modified|derivation)[\s_:.\-]+", re.IGNORECASE)
SPELLINGS = {name.lower(): name for name in LEADS}
SPELLINGS |= {f"ml{name.lower()}": name for name in ("I", "II", "III")}  # modified limb leads of a Holter
SPELLINGS |= {f"d{name.lower()}": name for name in ("I", "II", "III")}
SPELLINGS |= {f"d{n}": name for n, name in enumerate(("I", "II", "III"), 1)}
SPELLINGS |= {f"c{n}": f"V{n}" for n in range(1, 7)}  # IEC's names of the chest electrodes


def lead_name(name: str) -> str:
    """The standard name of a lead as people write it: MLII, `ECG II`, `Lead II`, ii. Others stay as they are."""
    given = name.strip()
    short = given
    while (cut := PREFIX.sub("", short)) != short:
        short = cut
    return SPELLINGS.get(short.lower().replace(" ", ""), given)


@dataclass(frozen=True)
class Leads:
    """The leads of an ECG, in the order of its rows.

    `free` are those that a model draws. Two limb leads or more follow from I and II, which are free then; a single
    limb lead, chest leads and leads of other names are free themselves.
    """

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def standard(self) -> bool:
        """Whether they are the twelve, in their order."""
        return self.names == LEADS

    @property
    def title(self) -> str:
        """For people: `12-lead ECG`, `1-lead ECG (II)`."""
        return f"{len(self)}-lead ECG" + ("" if self.standard else f" ({', '.join(self.names)})")

    @property
    def article(self) -> str:
        """Of the title."""
        return "an" if len(self) in (8, 11) else "a"

    @cached_property
    def free(self) -> tuple[str, ...]:
        """Names of the free leads."""
        limb = tuple(name for name in self.names if name in LIMB)
        return (limb if len(limb) < 2 else ("I", "II")) + tuple(n for n in self.names if n not in LIMB)

    @cached_property
    def steps(self) -> IntArray:
        """(free lead, 1) microvolts in which each is stored: I and II in 2 where others follow from them."""
        return np.array([2 if self.has_axis and name in LIMB else 1 for name in self.free])[:, None]

    @property
    def has_axis(self) -> bool:
        """Whether the frontal plane is known: two limb leads or more."""
        return sum(name in LIMB for name in self.names) > 1

    def places(self, names: Sequence[str]) -> list[int]:
        """Where these leads are."""
        return [self.names.index(name) for name in names]

    def frontal(self, values: FloatArray) -> tuple[float, float]:
        """Of (lead,) values, those of leads I and aVF."""
        one, two = self.free_of(values[:, None])[:2, 0]
        there = dict(zip(self.names, values, strict=True))
        return float(there.get("I", one)), float(there.get("aVF", two - one / 2))

    @cached_property
    def stand_ins(self) -> dict[str, str]:
        """Leads of unknown names, and the standard lead that stands for each."""
        unknown = [name for name in self.names if name not in LEADS]
        left = [name for name in STAND_INS if name not in self.names] or list(STAND_INS)
        return {name: left[place % len(left)] for place, name in enumerate(unknown)}

    @cached_property
    def of_eight(self) -> FloatArray:
        """(free lead, 8) weights of I, II, V1 to V6 in each free lead."""
        rows = np.zeros((len(self.free), len(EIGHT)))
        for row, name in zip(rows, self.free, strict=True):
            name = self.stand_ins.get(name, name)
            if name in LIMB:
                row[:2] = LIMB[name]
            else:
                row[EIGHT.index(name)] = 1
        return rows

    def from_eight(self, values: FloatArray) -> FloatArray:
        """(8, ...) of I, II, V1 to V6 as (free lead, ...)."""
        return values if self.free == EIGHT else np.asarray(self.of_eight @ values)

    def drawn(self, free: FloatArray) -> Float32Array:
        """(lead, sample) mV in whole microvolts of (free lead, sample) mV; Einthoven's law holds exactly."""
        if self.standard:
            return twelve_leads(free)
        whole = np.rint(free * (1000 / self.steps)) * self.steps
        place = {name: row for name, row in zip(self.free, whole, strict=True)}
        rows = [
            LIMB[name][0] * place["I"] + LIMB[name][1] * place["II"]
            if self.has_axis and name in LIMB
            else place[name]
            for name in self.names
        ]
        return millivolts(np.clip(np.stack(rows), -32000, 32000))

    def free_of(self, ecg: NDArray[Real]) -> NDArray[Real]:
        """(free lead, sample) of (lead, sample); I and II by least squares where they are not there."""
        if self.standard:
            return ecg[list(INDEPENDENT)]
        at = {name: place for place, name in enumerate(self.names)}
        if all(name in at for name in self.free):
            return ecg[[at[name] for name in self.free]]
        limb = [name for name in self.names if name in LIMB]
        two = np.linalg.pinv(np.array([LIMB[name] for name in limb])) @ ecg[[at[name] for name in limb]]
        return np.concatenate([two.astype(ecg.dtype), ecg[[at[name] for name in self.free[2:]]]])

    def broken(self, ecg: NDArray[np.floating[Any]]) -> BoolArray:
        """(sample,) where limb leads do not follow from each other, by more than half a microvolt."""
        off = np.abs(self.drawn(self.free_of(ecg.astype(np.float64))) - ecg)
        return np.asarray(off.max(0) > 0.0005)

    def lost(self, electrode: str) -> list[int]:
        """Places of the leads that cannot be measured without this electrode.

        Each limb electrode is part of Wilson's central terminal and of Goldberger's leads, so that of standard leads
        only the bipolar one between the other two is left. A lead of another name has electrodes of its own.
        """
        left = {"RA": "III", "LA": "II", "LL": "I"}
        if electrode in left:
            return [p for p, name in enumerate(self.names) if name in LEADS and name != left[electrode]]
        return [p for p, name in enumerate(self.names) if name == electrode]

    @cached_property
    def electrodes(self) -> tuple[str, ...]:
        """The electrodes without which a lead is lost."""
        return tuple(name for name in (*ELECTRODES, *self.stand_ins) if self.lost(name))


@lru_cache(maxsize=64)
def _leads(names: tuple[str, ...]) -> Leads:
    return Leads(names)


TWELVE = _leads(LEADS)


def leads_of(record: Record) -> Leads:
    """The leads of a record's ECG: what its fact `leads` says, else the twelve."""
    return leads_in(record.facts)


def leads_in(facts: Facts) -> Leads:
    """The leads that a record's facts, or a card's model, name: the twelve where they name none."""
    return _leads(tuple(facts.get("leads", LEADS)))


def lead_off(facts: Facts) -> list[tuple[int, int, str, list[int]]]:
    """First sample, sample after the last, electrode with the leads it takes in words, and their places."""
    leads, out = leads_in(facts), []
    for electrode, first, end in facts.get("lead_off", ()):
        lost = leads.lost(electrode)
        out.append((first, end, f"{electrode}: {' '.join(leads.names[place] for place in lost)}", lost))
    return out


def noted(leads: Leads) -> dict[str, list[str]]:
    """What a record's facts and a card say of leads: nothing where they are the twelve."""
    return {} if leads.standard else {"leads": list(leads.names)}


def in_order(names: Sequence[str]) -> Leads:
    """These leads in the order of LEADS, those of other names after them."""
    known = [name for name in LEADS if name in names]
    return _leads((*known, *(name for name in dict.fromkeys(names) if name not in LEADS)))
