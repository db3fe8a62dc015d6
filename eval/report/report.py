"""evaluate(): judge a cohort view by view, and its link, and write report.html and scores.json."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ...core.capabilities import ClinicalRules
from ...core.cohort.disk import refusals, require_folder, write_together
from ...core.modality import Modality, TrainingSet, View
from .. import reference as references
from ..attacks.attack import attack
from ..cohort import CohortRecords, EvaluatedCohort, Subset
from ..declared import views_of
from ..linkage.linkage import linkage
from ..metrics.classifier import C2ST_TITLE, c2st
from ..metrics.distances import (
    LEAST,
    MOST,
    TITLES,
    Aggregate,
    RealBaseline,
    comparable,
    distances,
    real_baseline,
    summarise,
)
from ..metrics.registry import detailed_scores, unmeasured_scores
from ..metrics.tstr import task_scores
from ..metrics.tstr_models import unmeasured_task
from ..profile import FULL, EvaluationProfile
from ..reference import ViewReference, population, samples
from ..results import FORMAT, VERSION, ViewResult
from ..sample import Comparison, Sample, collect
from ..score import NOT_MEASURED, Score, not_measured
from .render import render

DPI = 110
LACKING = "the reference folder has no such records"
OTHER_WEIGHTS = (
    "the figure is that of the weights that ship, and others drew these records; give a reference folder"
)
NAMED = 20  # breaches of clinical rules that are listed in full

Reference = Mapping[str, Sequence[tuple[TrainingSet, TrainingSet]]]


def evaluate(
    cohort: EvaluatedCohort,
    modalities: Sequence[Modality],
    reference: Reference | None,
    out: Path,
    *,
    seed: int = 0,
    show_real: bool = True,
    progress: Callable[[str], None] = lambda title: None,
    profile: EvaluationProfile = FULL,
    unattacked: str = "",
) -> dict[str, Any]:
    """Write out/report.html and out/scores.json; the content of the latter.

    reference: modality name -> (train, test) sets of real data. Test rows are scored against; train rows
    are the other real sample of every real baseline. Without it, the shipped aggregates are used, and figures that
    need real rows are quoted from them. show_real False keeps real records out of the report's pictures.
    profile QUICK looks at some patients only, and says so. unattacked: why nobody knows which real patients the
    generator may have seen; attacks are then not measured.
    Raises InputError: splits share patients, data cannot be read, or out cannot be written.
    """
    require_folder(out)
    everyone = cohort.patients
    if profile.patients is not None and profile.patients < everyone:
        cohort = Subset(cohort, profile.patients)
    reports: list[ViewResult] = []
    without: list[str] = []
    comparisons: dict[str, list[Comparison]] = {}
    for modality in modalities:
        progress(modality.name)
        pairs = None if reference is None else reference.get(modality.name, ())
        own = comparisons[modality.name] = comparisons_of(cohort, modality, pairs, seed, profile, unattacked)
        reports += _judged(modality, own, pairs is None, _manifest(cohort), seed, show_real, profile)
        if not own:
            without.append(modality.name)
    progress("linkage")
    link = linkage(
        cohort, modalities, [comparison for own in comparisons.values() for comparison in own], seed
    )
    progress("privacy")
    privacy = attack(comparisons, seed, cohort, modalities)
    scores = {
        "format": FORMAT,
        "format_version": VERSION,
        "reference": "folder" if reference is not None else "shipped",
        "patients": everyone,
        "evaluated": {"profile": profile.name, "patients": cohort.patients},
        "seed": seed,
        "views": [report.to_dict() for report in reports],
        "linkage": link.to_dict(),
        "rules": rules(cohort, modalities),
        "privacy": privacy.to_dict(),
        "not_measured": [
            f"{r.view.title}: {s.title}: {s.reason}"
            for r in reports
            for s in r.scores
            if s.status == NOT_MEASURED
        ]
        + [f"{name}: no real counterpart to compare with" for name in without],
    }
    page = render(reports, link, privacy, scores, without)
    with refusals(out):
        made = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        try:
            text = json.dumps(scores, indent=1, allow_nan=False) + "\n"
            write_together({out / "scores.json": text.encode(), out / "report.html": page.encode()})
        except OSError:
            if made:
                out.rmdir()
            raise
    return scores


def judge(
    cohort: CohortRecords,
    modality: Modality,
    pairs: Sequence[tuple[TrainingSet, TrainingSet]] | None,
    *,
    seed: int = 0,
    show_real: bool = True,
    profile: EvaluationProfile = FULL,
) -> list[ViewResult]:
    """A report a view of one modality; pairs None: against the shipped aggregates. See evaluate."""
    own = comparisons_of(cohort, modality, pairs, seed, profile)
    return _judged(modality, own, pairs is None, _manifest(cohort), seed, show_real, profile)


def _manifest(cohort: CohortRecords) -> Mapping[str, Any]:
    """Of a cohort on disk; empty for records in memory."""
    found: Mapping[str, Any] = getattr(cohort, "manifest", {})
    return found


def comparisons_of(
    cohort: CohortRecords,
    modality: Modality,
    pairs: Sequence[tuple[TrainingSet, TrainingSet]] | None,
    seed: int = 0,
    profile: EvaluationProfile = FULL,
    unattacked: str = "",
) -> list[Comparison]:
    """The rows of each view of a modality: synthetic ones, and where there are pairs real ones.

    Views that no record of either side serves are left out, and tasks that no record has a label for.
    """
    views = views_of(modality, pairs)
    if not views:
        return []
    # without real rows there is nothing to hold a closer look against
    wanted = views if pairs else [replace(view, panels=()) for view in views]
    drawn = collect(wanted, ((p.profile, p.records[modality.name]) for p in cohort.records(modality)))
    if not pairs:
        why = unattacked or ("" if pairs is None else LACKING)
        return [Comparison(view, own, unattacked=why) for view, own in zip(views, drawn, strict=True)]
    real = samples(modality, pairs, seed, profile.real_patients)
    every = (
        Comparison(view, own, *both, unattacked or ("" if any(both) else LACKING)).known()
        for view, own, both in zip(views, drawn, real, strict=True)
    )
    return [comparison for comparison in every if comparison is not None]


def _judged(
    modality: Modality,
    comparisons: Sequence[Comparison],
    against_shipped: bool,
    manifest: Mapping[str, Any],
    seed: int,
    show_real: bool,
    profile: EvaluationProfile,
) -> list[ViewResult]:
    shipped: Mapping[str, ViewReference] = {}
    if against_shipped and (path := references.folder() / f"{modality.name}.json").exists():
        shipped = references.read(path)
        others = references.unshipped(modality.weights(), manifest)
        shipped = {name: view.unquoted(OTHER_WEIGHTS) if others else view for name, view in shipped.items()}
    reports = []
    for comparison in comparisons:
        known = shipped.get(comparison.view.name)
        report = score(
            comparison.view, comparison.synthetic, comparison.train, comparison.test, known, seed, profile
        )
        shown = comparison.test if show_real else None
        reports.append(_pictured(replace(report, modality=modality.name), comparison.synthetic, shown))
    return reports


def score(
    view: View,
    synthetic: Sample | None,
    train: Sample | None,
    test: Sample | None,
    shipped: ViewReference | None,
    seed: int = 0,
    profile: EvaluationProfile = FULL,
) -> ViewResult:
    """Every score of one view: against real rows if there are any, else against shipped aggregates."""
    if synthetic is None or synthetic.patient_count < LEAST:
        have = 0 if synthetic is None else synthetic.patient_count
        report = _unmeasured(view, f"the cohort has {have} such records, {LEAST} are needed")
        return replace(report, synthetic=None if synthetic is None else population(synthetic.profiles))
    if train is not None and test is not None:
        return _against_rows(view, synthetic, train, test, seed, profile)
    if shipped is not None:
        size = min(synthetic.patient_count, MOST)
        found, by_feature = _distances(synthetic, shipped.aggregate, shipped.real_baseline(size), None, seed)
        quoted = {(s.metric, s.task, s.panel) for s in shipped.quoted}
        without = _unmeasured(view, "needs real records: give a reference folder").scores[2:]
        rest = [*shipped.quoted, *(s for s in without if (s.metric, s.task, s.panel) not in quoted)]
        real = shipped.population
    else:
        return replace(
            _unmeasured(view, "there are no real records to compare with"),
            synthetic=population(synthetic.profiles),
        )
    return ViewResult("", view, [*found, *rest], by_feature, population(synthetic.profiles), real)


def _against_rows(
    view: View, synthetic: Sample, train: Sample, test: Sample, seed: int, profile: EvaluationProfile
) -> ViewResult:
    who = population(synthetic.profiles), population(test.profiles)
    size = comparable(synthetic.patient_count, train.patient_count)
    if size < LEAST or test.patient_count < LEAST:
        have = f"there are {train.patient_count} and {test.patient_count}"
        report = _unmeasured(view, f"needs {2 * LEAST} real training and {LEAST} real test patients, {have}")
        return replace(report, synthetic=who[0], real=who[1])
    synthetic, train, test = _common(synthetic, train, test)
    if not len(test.inputs.columns) or not len(test.features.columns):
        return replace(
            _unmeasured(view, "synthetic and real records share no feature"), synthetic=who[0], real=who[1]
        )
    real = summarise(test.features)
    if not real.names:
        report = _unmeasured(view, f"no feature of the {len(test)} real test records varies")
        return replace(report, synthetic=who[0], real=who[1])
    found, by_feature = _distances(synthetic, real, real_baseline(train, real, size, seed), test, seed)
    apart = c2st(synthetic, train, test, seed)
    tasks: list[Score] = []
    for task in view.tasks:
        stated = view.states.get(task.name, ())
        tasks += task_scores(
            task, synthetic.without(stated), train.without(stated), test.without(stated), seed
        )
    rest = detailed_scores(view, synthetic, train, test, profile, seed)
    return ViewResult("", view, [*found, apart, *tasks, *rest], by_feature, *who)


def _distances(
    synthetic: Sample, real: Aggregate, real_baseline: RealBaseline, test: Sample | None, seed: int
) -> tuple[list[Score], dict[str, float]]:
    """Distances on the features both sides have."""
    have = np.array([name in synthetic.features.columns for name in real.names])
    return distances(synthetic, real.only(have), real_baseline, test, seed)


def _common(*groups: Sample) -> tuple[Sample, ...]:
    """The samples with the columns that all of them have, in the order of the first."""

    def shared(tables: Sequence[Any]) -> list[str]:
        return [name for name in tables[0].columns if all(name in table.columns for table in tables)]

    features, inputs = shared([g.features for g in groups]), shared([g.inputs for g in groups])
    return tuple(replace(g, features=g.features[features], inputs=g.inputs[inputs]) for g in groups)


def _unmeasured(view: View, reason: str) -> ViewResult:
    """All scores of a view, none measured."""
    scores = [not_measured(metric, title, "distance", reason) for metric, title in TITLES.items()]
    scores.append(not_measured("c2st_auc", C2ST_TITLE, "c2st", reason))
    scores += [score for task in view.tasks for score in unmeasured_task(task, reason)]
    return ViewResult("", view, [*scores, *unmeasured_scores(view, reason)])


def _pictured(report: ViewResult, synthetic: Sample | None, test: Sample | None) -> ViewResult:
    """With the view's picture, where there are synthetic records."""
    from matplotlib.figure import Figure

    if synthetic is None:
        return report
    figure = Figure(facecolor="white")
    alt = report.view.picture(figure, test.shown if test is not None else [], synthetic.shown)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return replace(report, picture=file.getvalue(), alt=alt, real_pictured=test is not None)


def rules(cohort: CohortRecords, modalities: Sequence[Modality]) -> dict[str, Any]:
    """How many patients were checked and which rules their records break, in plain JSON types."""
    patients, counts, named = 0, Counter[str](), list[dict[str, str]]()
    checked: dict[str, str] = {}
    for modality in modalities:
        if not isinstance(modality, ClinicalRules):
            continue
        checked |= modality.rule_names()
        for patient in cohort.records(modality):
            patients += 1
            for rule, says in modality.breaches(patient.records[modality.name]):
                counts[rule] += 1
                if len(named) < NAMED:
                    named.append({"patient_id": patient.profile.patient_id, "rule": rule, "says": says})
    total = counts.total()
    said = f"{total or 'No'} breaches of clinical rules in the records of {patients} patients."
    return {
        "patients": patients,
        "violations": total,
        "by_rule": dict(sorted(counts.items())),
        "checked": checked if patients else {},
        "first": named,
        "in_words": said if patients else "Not measured: no record states rules.",
    }
