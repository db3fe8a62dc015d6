"""Training data: hourly tables on a fixed grid, and the card of weights learnt on them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ...core.modality import Record, TrainingSet
from ...core.training.weights import Card, DataUsed
from ...core.types import Float32Array
from .channels import VITALS, Channel, chart_facts


def read_vitals(data: TrainingSet, rows: int | None = None) -> list[Record]:
    """The first rows of time of each stay: (step, channel) float32, NaN where not charted or not plausible.

    The folder's options are vitals.options.SeriesOptions, which say how many rows if `rows` does not. Facts: hours,
    the rows of the stay in the window, baseline (medians by field), sepsis_onset, hours from the stay's first, and the
    channels.
    """
    from .vitals.series import read_series

    series = read_series(data.root, data.records, data.options, rows, data.vocabulary, data.others)
    said = chart_facts(series.channels, series.step_hours)
    return [
        Record(
            {"vitals": grid},
            {
                "hours": int(length),
                "baseline": baselines(grid, series.channels),
                **said,
                **({"sepsis_onset": float(onset)} if np.isfinite(onset) else {}),
            },
        )
        for grid, length, onset in zip(series.grid, series.hours, series.onset, strict=True)
    ]


def baselines(grid: Float32Array, channels: Sequence[Channel] = VITALS) -> dict[str, float]:
    """Medians of a stay's charted readings by profile field; a channel never charted is left out."""
    out = {}
    for channel, readings in zip(channels, grid.T, strict=True):
        if channel.field and len(charted := readings[np.isfinite(readings)]):
            out[channel.field] = float(np.median(charted))
    return out


def card(
    kind: str, name: str, data: Sequence[TrainingSet], steps: int, seconds: float, columns: Sequence[str],
    model: dict[str, Any], measured: dict[str, float],
    spent: Mapping[str, Any] = MappingProxyType({"privacy": "public"}), before: Sequence[DataUsed] = (),
) -> Card:  # fmt: skip
    """Of weights learnt on `data`, for what was `spent` (see core.ledger.pay), after what was learnt `before`."""
    used = [
        DataUsed(
            **vars(part.source), rows=len(part), patients=len({p.patient_id for p in part.profiles}),
            privacy=spent["privacy"],
        )
        for part in data
    ]  # fmt: skip
    return Card(
        name=name, modality="signals", kind=kind, data=[*used, *before], steps=steps,
        seconds=round(seconds), columns=list(columns), model=model, figures=measured, **spent,
    )  # fmt: skip
