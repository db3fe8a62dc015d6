"""What private_inference.py asks: 20 associations and 8 subgroups, named before any test row was looked at."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from polyclinic.eval.regression import Estimates, cox, linear, logistic


@dataclass(frozen=True)
class Analysis:
    """One regression, and those of its terms that are among the 20."""

    kind: str
    outcome: str
    terms: tuple[str, ...]
    named: tuple[str, ...]

    def fit(self, table: pd.DataFrame) -> Estimates:
        """The named terms' estimates; terms that are constant in a subgroup are left out."""
        terms = [name for name in self.terms if table[name].nunique() > 1]
        if self.kind == "cox":
            found = cox(table, self.outcome, "discharged", terms)
        else:
            found = {"linear": linear, "logistic": logistic}[self.kind](table, self.outcome, terms)
        kept = [place for place, name in enumerate(terms) if name in self.named]
        return Estimates(tuple(terms[k] for k in kept), found.values[kept], found.variances[kept], found.rows)

    @property
    def title(self) -> str:
        """As a table has it."""
        return f"{self.kind}: {self.outcome}"


# 11 linear, 7 logistic, 2 Cox
ANALYSES = (
    Analysis("linear", "days", ("decade", "female", "diagnoses", "emergency"), ("decade", "diagnoses", "emergency")),
    Analysis("linear", "medications", ("days", "procedures", "insulin", "decade"), ("days", "procedures", "insulin")),
    Analysis("linear", "lab_tests", ("emergency", "days", "a1c_measured"), ("emergency", "a1c_measured")),
    Analysis("linear", "diagnoses", ("decade", "female", "circulatory"), ("decade", "circulatory", "female")),
    Analysis(
        "logistic", "readmitted", ("decade", "female", "inpatient", "diagnoses", "days"), ("inpatient", "diagnoses")
    ),
    Analysis("logistic", "readmitted_30", ("nursing", "inpatient", "days", "a1c_measured"), ("nursing",)),
    Analysis("logistic", "a1c_measured", ("emergency", "decade", "female"), ("emergency", "decade")),
    Analysis("logistic", "insulin", ("decade", "black", "circulatory"), ("black",)),
    Analysis("logistic", "died", ("decade", "emergency", "respiratory"), ("decade",)),
    Analysis("cox", "days", ("decade", "female", "emergency", "diagnoses"), ("decade", "diagnoses")),
)  # fmt: skip

SUBGROUPS: dict[str, Callable[[pd.DataFrame], "pd.Series[bool]"]] = {
    "women": lambda t: t.female == 1,
    "men": lambda t: t.female == 0,
    "under 60": lambda t: t.decade < 6,
    "60 to 79": lambda t: (t.decade >= 6) & (t.decade < 8),
    "80 and over": lambda t: t.decade >= 8,
    "white": lambda t: t.white == 1,
    "black": lambda t: t.black == 1,
    "emergencies": lambda t: t.emergency == 1,
}


def coded(table: pd.DataFrame) -> pd.DataFrame:
    """The variables of the analyses, of real rows as train population reads them or of synthetic ones."""

    def flag(column: str, *words: object) -> "pd.Series[int]":
        return table[column].isin(words).astype(int)

    def number(column: str) -> "pd.Series[float]":
        return pd.to_numeric(table[column]).astype(float)

    return pd.DataFrame(
        {"female": flag("sex", "F"), "decade": number("decade"), "white": flag("race", "Caucasian"),
         "black": flag("race", "AfricanAmerican"), "emergency": flag("admission_type_id", "emergency"),
         "nursing": flag("discharge_disposition_id", "nursing"), "died": flag("discharge_disposition_id", "died"),
         "discharged": 1 - flag("discharge_disposition_id", "died"), "days": number("time_in_hospital"),
         "lab_tests": number("num_lab_procedures"), "procedures": number("num_procedures"),
         "medications": number("num_medications"), "inpatient": number("number_inpatient").clip(upper=4),
         "diagnoses": number("number_diagnoses"), "circulatory": flag("diag_1", "circulatory"),
         "respiratory": flag("diag_1", "respiratory"), "a1c_measured": 1 - flag("A1Cresult", "None"),
         "insulin": 1 - flag("insulin", "No"), "readmitted": 1 - flag("readmitted", "NO"),
         "readmitted_30": flag("readmitted", "<30")}
    )  # fmt: skip
