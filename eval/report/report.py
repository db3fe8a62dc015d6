"""evaluate(): judge a cohort view by view, and its link, and write report.html and scores.json."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ...core.cohort.disk import refusals
from ...core.errors import InputError
from ...core.modality import Modality, TrainingSet, View
from ...core.training.weights import write_atomic
from .. import reference as references
from ..attacks.attack import attack
from ..cohort import CohortRecords, EvaluatedCohort, Subset
from ..linkage.linkage import linkage
from ..metrics.classifier import APART, told_apart
from ..metrics.distances import LEAST, MOST, TITLES, Aggregate, Floor, comparable, distances, floor, summarise
from ..metrics.registry import finer, lacking
from ..metrics.tstr import lessons
from ..metrics.tstr_models import not_taught
from ..profile import FULL, Effort
from ..reference import ViewReference, population, samples
from ..results import ViewReport
from ..rules import rules
from ..sample import Comparison, Sample, collect
from ..score import NOT_MEASURED, Score, not_measured
from .page import render
from .words import link_headline

FORMAT, VERSION = "polyclinic-scores", 1
DPI = 110

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
    effort: Effort = FULL,
) -> dict[str, Any]:
    """Write out/report.html and out/scores.json; the content of the latter.

    reference: modality name -> (train, test) sets of real data. Test rows are scored against; train rows
    are the other real sample of every floor. Without it, the shipped aggregates are used, and figures that
    need real rows are quoted from them. show_real False keeps real records out of the report's pictures.
    effort QUICK looks at some patients only, and says so.
    Raises InputError: splits share patients, data cannot be read, or out cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; expected a folder to write the report into")
    everyone = cohort.patients
    if effort.patients is not None and effort.patients < everyone:
        cohort = Subset(cohort, effort.patients)
    reports: list[ViewReport] = []
    without: list[str] = []
    sides: dict[str, list[Comparison]] = {}
    for modality in modalities:
        progress(modality.name)
        pairs = None if reference is None else reference.get(modality.name, ())
        own = sides[modality.name] = sides_of(cohort, modality, pairs, seed, effort)
        reports += _judged(modality, own, pairs is None, seed, show_real, effort)
        if not own:
            without.append(modality.name)
    progress("linkage")
    link = linkage(cohort, modalities, [side for own in sides.values() for side in own], seed)
    progress("privacy")
    privacy = attack(sides, seed, cohort, modalities)
    scores = {
        "format": FORMAT,
        "version": VERSION,
        "reference": "folder" if reference is not None else "shipped",
        "patients": everyone,
        "looked_at": {"effort": effort.name, "patients": cohort.patients},
        "seed": seed,
        "views": [report.to_dict() for report in reports],
        "linkage": {"in_words": link_headline(link), **link.to_dict()},
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
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "scores.json", (json.dumps(scores, indent=1, allow_nan=False) + "\n").encode())
        write_atomic(out / "report.html", page.encode())
    return scores


def judge(
    cohort: CohortRecords,
    modality: Modality,
    pairs: Sequence[tuple[TrainingSet, TrainingSet]] | None,
    *,
    seed: int = 0,
    show_real: bool = True,
    effort: Effort = FULL,
) -> list[ViewReport]:
    """A report a view of one modality; pairs None: against the shipped aggregates. See evaluate."""
    own = sides_of(cohort, modality, pairs, seed, effort)
    return _judged(modality, own, pairs is None, seed, show_real, effort)


def sides_of(
    cohort: CohortRecords,
    modality: Modality,
    pairs: Sequence[tuple[TrainingSet, TrainingSet]] | None,
    seed: int = 0,
    effort: Effort = FULL,
) -> list[Comparison]:
    """The rows of each view of a modality: synthetic ones, and where there are pairs real ones."""
    views = modality.views()
    if not views:
        return []
    # without real rows there is nothing to hold a closer look against
    wanted = views if pairs else [replace(view, panels=()) for view in views]
    drawn = collect(wanted, ((p.profile, p.records[modality.name]) for p in cohort.records(modality)))
    if not pairs:
        return [Comparison(view, own) for view, own in zip(views, drawn, strict=True)]
    real = samples(modality, pairs, seed, effort.real_patients)
    return [Comparison(view, own, *both) for view, own, both in zip(views, drawn, real, strict=True)]


def _judged(
    modality: Modality,
    sides: Sequence[Comparison],
    against_shipped: bool,
    seed: int,
    show_real: bool,
    effort: Effort,
) -> list[ViewReport]:
    shipped: Mapping[str, ViewReference] = {}
    if against_shipped and (path := references.folder() / f"{modality.name}.json").exists():
        shipped = references.read(path)
    reports = []
    for side in sides:
        known = shipped.get(side.view.name)
        report = score(side.view, side.synthetic, side.train, side.test, known, seed, effort)
        shown = side.test if show_real else None
        reports.append(_pictured(replace(report, modality=modality.name), side.synthetic, shown))
    return reports


def score(
    view: View,
    synthetic: Sample | None,
    train: Sample | None,
    test: Sample | None,
    shipped: ViewReference | None,
    seed: int = 0,
    effort: Effort = FULL,
) -> ViewReport:
    """Every score of one view: against real rows if there are any, else against shipped aggregates."""
    if synthetic is None or synthetic.patient_count < LEAST:
        have = 0 if synthetic is None else synthetic.patient_count
        report = _unmeasured(view, f"the cohort has {have} such records, {LEAST} are needed")
        return replace(report, synthetic=None if synthetic is None else population(synthetic.profiles))
    if train is not None and test is not None:
        return _against_rows(view, synthetic, train, test, seed, effort)
    if shipped is not None:
        size = min(synthetic.patient_count, MOST)
        found, by_feature = _distances(synthetic, shipped.aggregate, shipped.floor(size), None, seed)
        quoted = {(s.metric, s.task) for s in shipped.quoted}
        without = _unmeasured(view, "needs real records: give a reference folder").scores[2:]
        rest = [*shipped.quoted, *(s for s in without if (s.metric, s.task) not in quoted)]
        real = shipped.population
    else:
        return replace(
            _unmeasured(view, "no real data to compare with"), synthetic=population(synthetic.profiles)
        )
    return ViewReport("", view, [*found, *rest], by_feature, population(synthetic.profiles), real)


def _against_rows(
    view: View, synthetic: Sample, train: Sample, test: Sample, seed: int, effort: Effort
) -> ViewReport:
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
    found, by_feature = _distances(synthetic, real, floor(train, real, size, seed), test, seed)
    apart = told_apart(synthetic, train, test, seed)
    taught = [score for task in view.tasks for score in lessons(task, synthetic, train, test, seed)]
    rest = finer(view, synthetic, train, test, effort, seed)
    return ViewReport("", view, [*found, apart, *taught, *rest], by_feature, *who)


def _distances(
    synthetic: Sample, real: Aggregate, floor: Floor, test: Sample | None, seed: int
) -> tuple[list[Score], dict[str, float]]:
    """Distances on the features both sides have."""
    have = np.array([name in synthetic.features.columns for name in real.names])
    return distances(synthetic, real.only(have), floor, test, seed)


def _common(*groups: Sample) -> tuple[Sample, ...]:
    """The samples with the columns that all of them have, in the order of the first."""

    def shared(tables: Sequence[Any]) -> list[str]:
        return [name for name in tables[0].columns if all(name in table.columns for table in tables)]

    features, inputs = shared([g.features for g in groups]), shared([g.inputs for g in groups])
    return tuple(replace(g, features=g.features[features], inputs=g.inputs[inputs]) for g in groups)


def _unmeasured(view: View, reason: str) -> ViewReport:
    """All scores of a view, none measured."""
    scores = [not_measured(metric, title, "distance", reason) for metric, title in TITLES.items()]
    scores.append(not_measured("auc", APART, "told apart", reason))
    scores += [score for task in view.tasks for score in not_taught(task, reason)]
    return ViewReport("", view, [*scores, *lacking(view, reason)])


def _pictured(report: ViewReport, synthetic: Sample | None, test: Sample | None) -> ViewReport:
    """With the view's picture, where there are synthetic records."""
    from matplotlib.figure import Figure

    if synthetic is None:
        return report
    figure = Figure(facecolor="white")
    alt = report.view.picture(figure, test.shown if test is not None else [], synthetic.shown)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return replace(report, picture=file.getvalue(), alt=alt, real_pictured=test is not None)
