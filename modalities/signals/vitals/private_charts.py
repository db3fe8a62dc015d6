"""Charts of any channels under a budget: three charged releases of the stays, which are the model (chart_model.py).

No step of training touches a patient, so that all of the budget is for the releases.
"""

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....core.condition import columns_of, select
from ....core.dp.ledger import current_run, pay
from ....core.modality import Conditioner, TrainingSet
from ....core.training.fit import Fit
from ....core.types import FloatArray
from ..ecg.private import one_each
from .chart_model import ChartModel
from .chart_statistics import FILE, ChartStatistics, release, statistics_plans
from .cohort_charts import CohortCharts
from .quantizer import Lattice


def learn_charts(
    data: Sequence[TrainingSet], chart: CohortCharts, conditioner: Conditioner, how: Fit
) -> tuple[ChartModel, list[str], dict[str, Any]]:
    """The model, the columns of the code that it takes, and what the card must say of the cost.

    A stay's own medians are no condition: the model draws them.
    """
    baselines = {channel.field for channel in chart.channels if channel.field}
    fields = [name for part in data for name in part.fields if name not in baselines]
    columns = [column for column in columns_of(conditioner.columns, fields) if "~" not in column]
    code = select(conditioner.encode(chart.profiles), conditioner.columns, columns)
    population = "+".join(part.source.name for part in data)
    released, spent = _released(chart, code.astype(np.float64), how, population)
    return ChartModel.of(released, columns), columns, spent


def _released(
    chart: CohortCharts, code: FloatArray, how: Fit, population: str
) -> tuple[ChartStatistics, dict[str, Any]]:
    """Charge the releases and draw them, or read what this run has drawn."""
    assert how.budget is not None
    chosen, lattice = one_each(chart.patients), Lattice.of(chart.channels)
    plans = statistics_plans(how.budget, len(chosen), lattice.count)
    file = how.folder / FILE
    if not (how.resume and (how.ledger is None or current_run(how.folder))):
        file.unlink(missing_ok=True)  # of another run, or of one that has ended
    spent = pay(how, {f"vitals, {what}": plan for what, plan in plans.items()}, population)
    spent["notes"] = "; ".join(f"{plan.mode}, noise {plan.noise_multiplier:.3g}" for plan in plans.values())
    if not file.exists():
        random = np.random.default_rng(secrets.randbits(128))
        noise = {what: plan.noise_multiplier for what, plan in plans.items()}
        release(chart.readings[chosen], chart.length[chosen], code[chosen], lattice, noise, random).save(file)
    return ChartStatistics.load(file), spent
