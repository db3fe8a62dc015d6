"""Charts of a training folder on a grid of even steps: placed by time, readings of one step averaged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....core.fields import SHIPPED, Vocabulary
from ....core.remarks import remark
from ....core.types import Float32Array, FloatArray, IntArray
from ..channels import VITALS, Channel
from .options import series_options, sources
from .readings import plausible, read_blocks, where_from


@dataclass(frozen=True)
class Series:
    """(stay, step, channel) readings, NaN where none; steps of each stay in the window; hour of onset, inf if none."""

    grid: Float32Array
    hours: IntArray
    onset: FloatArray
    channels: tuple[Channel, ...] = VITALS
    step_hours: float = 1.0


def read_series(
    root: Path, stays: Sequence[str], options: Mapping[str, Any], rows: int | None = None,
    vocabulary: Vocabulary = SHIPPED, others: Collection[str] | None = None,
) -> Series:  # fmt: skip
    """The first `rows` of time of each stay: a step without a row is missing, readings of one step are averaged.

    `others` are stays that may have rows too, None where they are not known.

    Readings outside of a channel's range are taken for errors. What is dropped or merged is remarked. Raises
    InputError: no such file or column, no stay of the table in the series, times that are none.
    """
    settings = series_options(options, f"{root / 'dataset.yaml'}: options")
    named = sources(settings, f"{root / 'dataset.yaml'}: options", vocabulary)
    rows, step, where = rows or settings.rows, settings.step_hours, where_from(root, settings)
    blocks = read_blocks(root, stays, settings, named, others)
    first, lost = np.full(len(stays), np.inf), 0
    for block in blocks:
        kept = block.stay >= 0
        lost += int((kept & np.isnan(block.time)).sum())
        kept &= np.isfinite(block.time)
        np.minimum.at(first, block.stay[kept], block.time[kept])
    if lost:
        remark(
            f"{where}: {lost} rows without a time in {settings.hour or 'the column of times'} are left out"
        )
    cells, length, onset = (
        len(stays) * rows,
        np.zeros(len(stays), dtype=np.int64),
        np.full(len(stays), np.inf),
    )
    total, count = np.zeros((2, cells, len(named)))
    double, late = 0, 0
    for block in blocks:
        kept = (block.stay >= 0) & np.isfinite(block.time)
        since = np.where(kept, (block.time - first[block.stay]) / step + 1e-9, -1.0)
        inside = kept & (since < rows)
        late += int((kept & (since >= rows)).sum())
        place = since[inside].astype(np.int64)
        cell = block.stay[inside] * rows + place
        double += len(cell) - len(np.unique(cell))
        np.maximum.at(length, block.stay[inside], place + 1)
        for channel, values in block.values.items():
            seen = plausible(values[inside], named[channel], where)
            there = np.isfinite(seen)
            total[:, channel] += np.bincount(cell[there], seen[there], cells)
            count[:, channel] += np.bincount(cell[there], minlength=cells)
        if block.onset is not None:
            on = kept & (block.onset > 0)
            np.minimum.at(onset, block.stay[on], np.floor(since[on] * step))
    if late:
        remark(f"{where}: {late} rows after the first {rows * step:g} hours of their stay are left out")
    if double and settings.form == "wide" and step == 1:
        remark(
            f"{where}: {double} rows share their hour with another of the stay; readings of one hour are averaged"
        )
    # a label that is on from the first row began before it: nobody knows when
    onset = np.where(onset > 0, onset + settings.lead, np.inf)
    with np.errstate(invalid="ignore"):
        grid = (total / count).astype(np.float32).reshape(len(stays), rows, len(named))
    return Series(grid, length, onset, tuple(source.channel for source in named), step)
