"""Reference: aggregates of held-out real data, made where the data are, read where they are not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..core.cohort.disk import write_atomic
from ..core.config import read_json
from ..core.errors import InputError
from ..core.modality import Modality, TrainingSet
from ..core.profile import PatientProfile
from ..core.training.weights import digest, find, folders
from .declared import views_of
from .metrics.distances import (
    LEAST,
    PROBABILITIES,
    Aggregate,
    RealBaseline,
    comparable,
    real_baseline,
    summarise,
)
from .sample import PATIENTS, Sample, collect, real_rows
from .score import MEASURED, QUOTED, Score, not_measured

FORMAT, VERSION = "polyclinic-reference", 2
SIZES = (10, 15, 25, 50, 100, 200, 400)  # of synthetic groups, for which real baselines are kept
LEAST_PATIENTS = 20  # fewer, and quantiles would be single patients' values


@dataclass(frozen=True)
class ViewReference:
    """What is known of one view's real data without their rows."""

    aggregate: Aggregate
    real_baselines: tuple[RealBaseline, ...]
    population: Mapping[str, Any]
    quoted: tuple[Score, ...]

    def unquoted(self, reason: str) -> "ViewReference":
        """Without the figures of the weights that ship, where others drew the records."""
        return replace(
            self,
            quoted=tuple(
                not_measured(s.metric, s.title, s.question, reason, s.task, s.panel) for s in self.quoted
            ),
        )

    def real_baseline(self, size: int) -> RealBaseline:
        """The real baseline at this group size: between the kept sizes, linear in 1 / size."""
        kept = sorted(self.real_baselines, key=lambda f: 1 / f.size)
        at = [1 / f.size for f in kept]
        size = min(max(size, min(f.size for f in kept)), max(f.size for f in kept))

        def between(values: Sequence[Sequence[float]]) -> tuple[float, float, float]:
            low, middle, high = (
                float(np.interp(1 / size, at, column)) for column in zip(*values, strict=True)
            )
            return low, middle, high

        return RealBaseline(size, between([f.ks for f in kept]), between([f.frechet for f in kept]))


def population(profiles: Sequence[PatientProfile]) -> dict[str, Any]:
    """Who they are: number of patients, quartiles of age (years), share of women among those of known sex."""
    own = list({p.patient_id: p for p in profiles}.values())
    ages = [p.age for p in own if p.age is not None]
    sexes = [p.sex for p in own if p.sex is not None]
    return {
        "patients": len(own),
        "records": len(profiles),
        "age_quartiles": [round(float(a), 1) for a in np.percentile(ages, [25, 50, 75])]
        if len(ages) > 3
        else None,
        "female": round(sexes.count("F") / len(sexes), 3) if sexes else None,
    }


def samples(
    modality: Modality, pairs: Sequence[tuple[TrainingSet, TrainingSet]], seed: int, most: int = PATIENTS
) -> list[tuple[Sample | None, Sample | None]]:
    """(train, test) rows of each view, of at most so many patients a set and split.

    Raises InputError if the two share a patient.
    """
    for train, test in pairs:
        if both := {p.patient_id for p in train.profiles} & {p.patient_id for p in test.profiles}:
            raise InputError(
                f"{test.root}: {len(both)} patients are in both splits, for example {min(both)}; "
                f"expected a split by patient"
            )
    views = views_of(modality, pairs)
    learnt = collect(views, real_rows(modality, [train for train, _ in pairs if len(train)], seed, most))
    judged = collect(views, real_rows(modality, [test for _, test in pairs if len(test)], seed, most))
    return list(zip(learnt, judged, strict=True))


def aggregate(
    modality: Modality,
    pairs: Sequence[tuple[TrainingSet, TrainingSet]],
    quoted: Mapping[str, Sequence[Score]],
    seed: int = 0,
    weights: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The content of a reference file: test rows become quantiles, means and covariances, never rows.

    quoted: view name -> scores that need real rows, measured on the shipped weights, whose hashes by name are
    `weights`. Raises InputError if a view's test split has fewer than 20 patients, or its train split too few for any
    real baseline.
    """
    views: dict[str, Any] = {}
    for view, (train, test) in zip(views_of(modality, pairs), samples(modality, pairs, seed), strict=True):
        if train is None or test is None:
            continue
        if test.patient_count < LEAST_PATIENTS:
            raise InputError(
                f"{view.title}: {test.patient_count} test patients; expected {LEAST_PATIENTS} or more, "
                f"since an aggregate of fewer could show single patients"
            )
        real = summarise(test.features)
        if train.patient_count < 2 * LEAST:
            raise InputError(
                f"{view.title}: {train.patient_count} training patients; expected {2 * LEAST} or more"
            )
        sizes = [size for size in SIZES if LEAST <= size <= comparable(size, train.patient_count)]
        lower = np.tril_indices(len(real.names))
        views[view.name] = {
            "population": population(test.profiles),
            "features": list(real.names),
            "quantiles": _short(real.quantiles),
            "mean": _short(real.mean),
            "sd": _short(real.sd),
            "shift": _short(real.shift, 3),
            "covariance_lower": _short(real.covariance[lower], 3),
            "real_baselines": [vars(real_baseline(train, real, size, seed)) for size in sizes],
            "quoted": [score.to_dict() for score in quoted.get(view.name, ())],
        }
    sources = [{**vars(test.source), "records": len(test), "split": test.split} for _, test in pairs]
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "modality": modality.name,
        "sources": sources,
        "weights": dict(weights or {}),
        "views": views,
    }


def _short(values: Any, digits: int = 4) -> Any:
    """Numbers to so many significant digits, as lists."""
    rounded = [float(f"{x:.{digits}g}") for x in np.ravel(values)]
    return np.reshape(rounded, np.shape(values)).tolist()


def write(content: Mapping[str, Any], path: Path) -> None:
    """Write a reference file."""
    write_atomic(path, (json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n").encode())


def folder() -> Path:
    """Where the shipped reference files are."""
    return Path(str(files("polyclinic.eval"))) / "reference"


def unshipped(used: Sequence[str], manifest: Mapping[str, Any]) -> list[str]:
    """Names of the weights that drew a cohort and are not those that ship: by the hashes of its manifest.

    Where there is no manifest, those in force are held against those that ship.
    """
    home = folders()[-1]
    stated: Mapping[str, str] = manifest.get("weights", {})
    found = []
    for name in used:
        path = home / f"{name}.safetensors"
        drew = stated.get(name) or digest(find(name))
        if not path.is_file() or digest(path) != drew:
            found.append(name)
    return found


def read(path: Path) -> dict[str, ViewReference]:
    """View name -> reference. Raises InputError if the file is damaged or of another version."""
    try:
        content = read_json(path.read_text(encoding="utf-8"))
        found = content["format"], content.get("format_version", 1)
        if found != (FORMAT, VERSION):
            raise InputError(
                f"{path}: expected {FORMAT} format_version {VERSION}, got {found[0]} {found[1]}; write it again "
                "with benchmarks/quality.py --write"
            )
        return {name: _view(row) for name, row in content["views"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a reference file ({type(error).__name__}: {error})") from None


def _view(row: Mapping[str, Any]) -> ViewReference:
    size = len(row["features"])
    covariance = np.zeros((size, size))
    covariance[np.tril_indices(size)] = row["covariance_lower"]
    covariance += np.tril(covariance, -1).T
    real = Aggregate(
        names=tuple(row["features"]),
        quantiles=np.asarray(row["quantiles"], dtype=np.float64).reshape(len(PROBABILITIES), size),
        mean=np.asarray(row["mean"], dtype=np.float64),
        sd=np.asarray(row["sd"], dtype=np.float64),
        shift=np.asarray(row["shift"], dtype=np.float64),
        covariance=covariance,
    )
    real_baselines = tuple(
        RealBaseline(f["size"], tuple(f["ks"]), tuple(f["frechet"])) for f in row["real_baselines"]
    )
    scores = [Score.from_dict(score) for score in row["quoted"]]
    quoted = tuple(replace(s, status=QUOTED) if s.status == MEASURED else s for s in scores)
    return ViewReference(real, real_baselines, row["population"], quoted)
