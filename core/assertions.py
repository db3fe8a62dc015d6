"""Assertion: what one file says of its patient, so that the files of all modalities can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

# Subjects on which several modalities have something to say; a modality may add its own.
PATIENT, SEX, AGE = "patient id", "sex", "age"
RHYTHM, FINDINGS, SUBTYPE = "rhythm", "chest findings", "tumour subtype"
STUDY_DATE, IMAGE, VIEW = "date of the studies", "UIDs of the image", "X-ray view"
ECG_STUDY = "UID of the ECG's study"
CHARTED = "mean of the first day's chart"  # of a vital sign, which is named before it
SURVIVAL = "survival, months from the index date"  # of who is not known to have died: from so many on
VITALS = {  # profile field: how far two assertions may lie apart, in the field's unit
    "heart_rate": 3.0, "systolic": 10.0, "diastolic": 10.0, "respiration": 3.0,
    "oxygen_saturation": 2.0, "temperature": 0.5,
}  # fmt: skip
CHEST_FINDINGS = (
    "I51.7", "J18.9", "J43.9", "J81.0", "J84.10", "J90", "J93.9", "J98.11", "R91.1", "R91.8",
)  # fmt: skip
NO_FINDING = "none"
# What is true of the patient, whichever record says it; of other subjects an instance of a modality speaks for itself
SHARED = (PATIENT, SEX, AGE, STUDY_DATE, RHYTHM, FINDINGS, *(field.replace("_", " ") for field in VITALS))
SINUS, FIBRILLATION, FLUTTER = "sinus", "atrial fibrillation", "atrial flutter"


def subject_of(subject: str, label: str) -> str:
    """A subject as an instance of a modality states it: `UIDs of the image (skin)`; SHARED ones are the patient's."""
    return f"{subject} ({label})" if label and subject not in SHARED else subject


def rhythm(codes: Sequence[str]) -> str:
    """The rhythm that a patient with these conditions has (ICD-10-CM codes)."""
    return FIBRILLATION if "I48.91" in codes else FLUTTER if "I48.92" in codes else SINUS


@dataclass(frozen=True)
class Assertion:
    """One source's statement on one subject: the value lies in [low, high], ends included.

    Assertions of one subject about one patient agree if their ranges meet. Words have low == high; so have dates,
    as ISO text, unless a span is meant. `source` says where it stands, in a reader's words. An assertion that is
    not `certain` shows the subject only as a rule (a mean over a day, a guess from ten seconds): how often it
    agrees is counted, but a patient in whom it does not has no fault.
    """

    subject: str
    source: str
    low: float | str
    high: float | str
    certain: bool = True

    @classmethod
    def of(
        cls, subject: str, source: str, value: float | str, within: float = 0.0, certain: bool = True
    ) -> "Assertion":
        """A single value; a number may be off by `within` either way."""
        if isinstance(value, str):
            return cls(subject, source, value, value, certain)
        return cls(subject, source, value - within, value + within, certain)

    @classmethod
    def vital(cls, field: str, source: str, value: float, certain: bool = True) -> "Assertion":
        """A vital sign by profile field; two of them may lie as far apart as VITALS says."""
        return cls.of(field.replace("_", " "), source, float(value), VITALS[field] / 2, certain)

    @classmethod
    def charted(cls, field: str, source: str, values: Sequence[float]) -> "Assertion":
        """The mean of a vital sign's charted values of the first day, by profile field; 0.05 apart is rounding."""
        return cls.of(f"{field.replace('_', ' ')}, {CHARTED}", source, sum(values) / len(values), 0.025)

    def agrees(self, other: "Assertion") -> bool:
        """Whether the ranges meet; never where an end is NaN."""
        return bool(self.low <= other.high and other.low <= self.high)  # type: ignore[operator]

    def __str__(self) -> str:
        """The value, or the middle of a range of numbers, or the range of dates."""
        if isinstance(self.low, str) or isinstance(self.high, str):
            return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
        return f"{(self.low + self.high) / 2:g}"


def findings(codes: Sequence[str]) -> str:
    """Codes of findings as one word that does not depend on their order."""
    return ", ".join(sorted(codes)) or NO_FINDING
