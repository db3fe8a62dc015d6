"""Charts of any channels learnt as statistics of the stays, which are the model (chart_model.py), without a network.

Under a budget they are three charged releases: no step of training touches a patient, so that all of the budget is for
them. Publicly the same statistics are exact.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....core.condition import columns_of, select
from ....core.dp.ledger import current_run, pay
from ....core.modality import Conditioner, TrainingSet
from ....core.training.fit import Fit
from ....core.types import FloatArray
from ..ecg.private import one_each
from .chart_model import ChartModel
from .chart_statistics import FILE, SHARES, ChartStatistics, release, statistics_plans
from .cohort_charts import CohortCharts
from .quantizer import Lattice

SPARSE = 0.25  # of the hours: charts of which less is charted are learnt as statistics


def sparse(chart: CohortCharts) -> bool:
    """Whether charts are too sparse for a network that goes from hour to hour, as labs are."""
    hours = np.maximum(chart.length, 1).sum() * len(chart.channels)
    return bool(np.isfinite(chart.readings).sum() < SPARSE * hours)


def learn_charts(
    data: Sequence[TrainingSet], chart: CohortCharts, conditioner: Conditioner, how: Fit
) -> tuple[ChartModel, list[str], dict[str, Any]]:
    """The model, the columns of the code that it takes, and what the card must say of the cost.

    A stay's own medians are no condition: the model draws them.
    """
    baselines = {channel.field for channel in chart.channels if channel.field}
    fields = [name for part in data for name in part.fields if name not in baselines]
    columns = [column for column in columns_of(conditioner.columns, fields) if "~" not in column]
    code = select(conditioner.encode(chart.profiles), conditioner.columns, columns).astype(np.float64)
    if how.budget is None:
        random = np.random.default_rng([how.seed, 5])
        released, spent = _released(chart, code, dict.fromkeys(SHARES, 0.0), random), {"privacy": "public"}
    else:
        released, spent = _charged(chart, code, how, "+".join(part.source.name for part in data))
    return ChartModel.of(released, columns), columns, spent


def _released(
    chart: CohortCharts, code: FloatArray, noise: Mapping[str, float], random: np.random.Generator
) -> ChartStatistics:
    """Of one random stay of each patient; of all of them where nobody is protected."""
    chosen = one_each(chart.patients) if any(noise.values()) else np.arange(len(chart.patients))
    lattice = Lattice.of(chart.channels)
    return release(chart.readings[chosen], chart.length[chosen], code[chosen], lattice, noise, random)


def _charged(
    chart: CohortCharts, code: FloatArray, how: Fit, population: str
) -> tuple[ChartStatistics, dict[str, Any]]:
    """Charge the releases and draw them, or read what this run has drawn."""
    assert how.budget is not None
    plans = statistics_plans(how.budget, len(set(chart.patients)), len(chart.channels))
    file = how.folder / FILE
    if not (how.resume and (how.ledger is None or current_run(how.folder))):
        file.unlink(missing_ok=True)  # of another run, or of one that has ended
    spent = pay(how, {f"vitals, {what}": plan for what, plan in plans.items()}, population)
    spent["notes"] = "; ".join(f"{plan.mode}, noise {plan.noise_multiplier:.3g}" for plan in plans.values())
    if not file.exists():
        noise = {what: plan.noise_multiplier for what, plan in plans.items()}
        _released(chart, code, noise, np.random.default_rng(secrets.randbits(128))).save(file)
    return ChartStatistics.load(file), spent
