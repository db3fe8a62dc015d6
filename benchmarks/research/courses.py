"""Whether the courses of disease run at the rates of the studies that they name; each figure with its source.

    python benchmarks/research/courses.py [--data DIR] [--quick]

Plays the courses of 3,000 patients a disease (--quick: 1,000), drawn from general_ward with that disease, and counts.
--data is accepted for uniformity and not used. A bar is the source's figure with its own 95 % range or the range
between its regions where it gives one, else two to six points either way; the courses were brought to it. Ours counts
with its 95 % range (Wilson), and a bar is met where the two overlap. Exits 1 if one falls short.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from polyclinic import PatientProfile, Population, seed_for
from polyclinic.conditioning.design.cohort_config import CohortConfig
from polyclinic.core.config import load, parse
from polyclinic.modalities.records.simulation.chart import INDEX_STARTS, Chart, Visit
from polyclinic.modalities.records.simulation.course import courses
from polyclinic.modalities.records.simulation.course_run import play

SEED, PATIENTS, QUICK = 17, 3000, 1000
MONTH = 30.0  # days, as readmissions are counted
Life = tuple[PatientProfile, Chart]
Counted = Iterable[float]  # 1 or 0 a case, or a number a patient


@dataclass(frozen=True)
class Rate:
    """One figure: of whom (by the code of a disease), how it is counted, and what the source says."""

    name: str
    disease: str
    count: Callable[[Sequence[Life]], Counted]
    low: float
    high: float
    source: str
    share: bool = True


def lives(code: str, patients: int) -> list[Life]:
    """Patients of the ward who have the disease, and what happens to them; no other modality is drawn."""
    ward, _ = load(CohortConfig, "general_ward", "cohort")
    if code == "A41.9":
        ward, _ = load(CohortConfig, "icu", "cohort")
    wanted = parse(
        CohortConfig, {**ward.model_dump(mode="json", exclude_none=True), "include": {code: True}}, code
    )
    known = courses()
    return [
        (profile, play(known, profile, {}, seed_for(SEED, profile.patient_id, "records")))
        for profile in Population(wanted).draw(patients, SEED)
    ]


def at_home(who: Sequence[Life]) -> list[Life]:
    """Those whose index visit is no stay."""
    return [(profile, chart) for profile, chart in who if chart.index_visit.kind == "AMB"]


def stays(chart: Chart, reasons: Sequence[str]) -> list[Visit]:
    """Stays in hospital for one of these reasons, in order."""
    return [v for v in chart.visits if v.kind == "IMP" and v.reason in reasons]


def died_by(chart: Chart, day: float) -> bool:
    """Whether the patient is dead on that day."""
    return chart.death is not None and chart.death <= day


def again(chart: Chart, first: Visit, days: float, reasons: Sequence[str]) -> bool:
    """Whether another stay begins within so many days of the end of one."""
    return any(first.end < v.start <= first.end + days for v in stays(chart, reasons))


def heart_failure_deaths(who: Sequence[Life]) -> Counted:
    """Within a year, of outpatients."""
    return [died_by(chart, 365) for _, chart in at_home(who)]


def heart_failure_events(who: Sequence[Life]) -> Counted:
    """Death, or a stay for heart failure, within a year, of outpatients."""
    for _, chart in at_home(who):
        stay = any(v.start > INDEX_STARTS for v in stays(chart, ["heart_failure"]))
        yield died_by(chart, 365) or stay


def heart_failure_again(who: Sequence[Life]) -> Counted:
    """A stay for heart failure within 30 days of one, of those discharged alive."""
    for _, chart in who:
        for visit in stays(chart, ["heart_failure"]):
            if visit.end + MONTH <= 365 and not died_by(chart, visit.end):
                yield again(chart, visit, MONTH, ["heart_failure"])


def _at_risk(who: Sequence[Life]) -> list[Chart]:
    found = []
    for profile, chart in who:
        age, others = profile.age or 0, ("I50.9", "I10", "E11.9", "I25.2")
        points = sum(profile.has(code) for code in others) + 2 * (age >= 75) + (65 <= age < 75)
        if points >= 2:
            found.append(chart)
    return found


def anticoagulated(who: Sequence[Life]) -> Counted:
    """At the index visit, of those whom the guideline wants to be."""
    for chart in _at_risk(who):
        yield any(chart.taking(drug, INDEX_STARTS) for drug in ("apixaban", "warfarin"))


def not_warfarin(who: Sequence[Life]) -> Counted:
    """The newer kind, of the anticoagulated."""
    for chart in _at_risk(who):
        if chart.taking("apixaban", INDEX_STARTS) or chart.taking("warfarin", INDEX_STARTS):
            yield chart.taking("warfarin", INDEX_STARTS) is None


def hba1c_fall(who: Sequence[Life]) -> Counted:
    """% from the diagnosis to the next reading, under metformin alone."""
    for _, chart in who:
        read = [
            (r.at, r.value) for r in chart.readings if r.name == "hba1c" and isinstance(r.value, float | int)
        ]
        begun = next((o.start for o in chart.orders if o.drug == "metformin"), None)
        if begun is None:
            continue
        before = [value for at, value in read if at <= begun]
        after = [value for at, value in read if begun < at <= begun + 180]
        if before and after:
            yield before[-1] - after[0]


def diabetic_again(who: Sequence[Life]) -> Counted:
    """Any stay within 30 days of the index stay, of diabetic inpatients without sepsis."""
    for profile, chart in who:
        visit = chart.index_visit
        if visit.kind == "IMP" and not profile.has("A41.9") and not died_by(chart, visit.end):
            yield any(visit.end < v.start <= visit.end + MONTH for v in chart.visits if v.kind == "IMP")


def _septic(who: Sequence[Life], shock: bool) -> Counted:
    for _, chart in who:
        if ("septic_shock" in chart.problems) == shock:
            yield died_by(chart, chart.index_visit.end)


def sepsis_again(who: Sequence[Life]) -> Counted:
    """Any stay within 30 days of discharge."""
    for _, chart in who:
        visit = chart.index_visit
        if not died_by(chart, visit.end):
            yield any(visit.end < v.start <= visit.end + MONTH for v in chart.visits if v.kind == "IMP")


def sepsis_late_deaths(who: Sequence[Life]) -> Counted:
    """In the year after discharge, of those discharged alive; scaled from the 350 days or so that are on record."""
    for _, chart in who:
        if not died_by(chart, chart.index_visit.end):
            yield chart.death is not None


def _pneumonia(who: Sequence[Life], low: int, high: int) -> Counted:
    for profile, chart in who:
        values = profile.measurements
        pressure = values.get("systolic", 120) < 90 or values.get("diastolic", 80) <= 60
        points = (values.get("respiration", 16) >= 30) + pressure + ((profile.age or 0) >= 65)
        if low <= points <= high and not profile.has("A41.9"):
            yield chart.cause == "pneumonia" and died_by(chart, MONTH)


NICE = "NICE guideline 191 on pneumonia, CRB-65"
RATES = (
    Rate("heart failure: dead within a year, outpatients", "I50.9", heart_failure_deaths, 0.064, 0.095,
         "Crespo-Leiro 2016: 6.4 % (Spain 6.4, rest of Europe 9.5)"),
    Rate("heart failure: dead or in hospital for it within a year", "I50.9", heart_failure_events, 0.115, 0.175,
         "Crespo-Leiro 2016: 14.5 %"),
    Rate("heart failure: back for it within 30 days", "I50.9", heart_failure_again, 0.067, 0.107,
         "Dharmarajan 2013: 24.8 % back, 35.2 % of them for it"),
    Rate("atrial fibrillation: anticoagulated where wanted", "I48.91", anticoagulated, 0.80, 0.90,
         "Boriani 2019 (EORP-AF): 84.9 %; GLORIA-AF, Europe: 90.1 %"),
    Rate("atrial fibrillation: of these not on warfarin", "I48.91", not_warfarin, 0.76, 0.88,
         "GLORIA-AF, fourth year: Europe 75.8 against 16.8 %"),
    Rate("diabetes: fall of HbA1c under metformin, %", "E11.9", hba1c_fall, 0.92, 1.32,
         "Hirst 2012: 1.12 (0.92 to 1.32)", share=False),
    Rate("diabetes: any stay within 30 days of one", "E11.9", diabetic_again, 0.09, 0.13,
         "Strack 2014: about one in nine"),
    Rate("sepsis without shock: dead in hospital", "A41.9", lambda who: _septic(who, False), 0.08, 0.16,
         "Singer 2016: about 10 %"),
    Rate("septic shock: dead in hospital", "A41.9", lambda who: _septic(who, True), 0.36, 0.48,
         "Singer 2016: above 40 %"),
    Rate("sepsis: back within 30 days", "A41.9", sepsis_again, 0.176, 0.254,
         "Shankar-Hari 2020: 21.4 % (17.6 to 25.4)"),
    Rate("sepsis: dead within a year of discharge", "A41.9", sepsis_late_deaths, 0.19, 0.29,
         "Engoren 2023: 24 %"),
    Rate("pneumonia, CRB-65 of 0: dead within 30 days", "J18.9", lambda who: _pneumonia(who, 0, 0), 0.0, 0.01,
         f"{NICE}: below 1 %"),
    Rate("pneumonia, CRB-65 of 1 or 2: dead within 30 days", "J18.9", lambda who: _pneumonia(who, 1, 2), 0.01, 0.10,
         f"{NICE}: 1 to 10 %"),
)  # fmt: skip


def measured(values: Sequence[float], share: bool) -> tuple[float, float, float]:
    """Mean with its 95 % range: Wilson's for a share."""
    number, mean = len(values), float(np.mean(values))
    if not share:
        half = 1.96 * float(np.std(values)) / number**0.5
        return mean, mean - half, mean + half
    z2 = 1.96**2
    middle = (mean + z2 / (2 * number)) / (1 + z2 / number)
    half = 1.96 / (1 + z2 / number) * (mean * (1 - mean) / number + z2 / (4 * number**2)) ** 0.5
    return mean, max(0.0, middle - half), min(1.0, middle + half)


def rows(patients: int) -> Iterator[tuple[Rate, int, float, float, float]]:
    """Each rate with its cases, its figure and its range; one disease's patients at a time."""
    for code, rates in groupby(RATES, lambda rate: rate.disease):
        who = lives(code, patients)
        for rate in rates:
            values = [float(value) for value in rate.count(who)]
            yield rate, len(values), *measured(values, rate.share)


def main() -> int:
    """Print the table; 0 if all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} patients a disease")
    options = parser.parse_args()
    patients = QUICK if options.quick else PATIENTS
    print(f"{patients:,} patients a disease, seed {SEED}\n")
    print(f"{'rate':58}{'cases':>7}{'ours':>8}  {'95 % range':16}{'bar':16}verdict  source")
    missed = 0
    for rate, cases, mean, low, high in rows(patients):
        good = low <= rate.high and rate.low <= high
        missed += not good
        form = "{:.1%}" if rate.share else "{:.2f}"
        own, ours, bar = (
            form.format(mean),
            *(f"{form.format(a)} to {form.format(b)}" for a, b in ((low, high), (rate.low, rate.high))),
        )
        print(
            f"{rate.name:58}{cases:>7}{own:>8}  {ours:16}{bar:16}{'met' if good else 'MISSED':9}{rate.source}"
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
