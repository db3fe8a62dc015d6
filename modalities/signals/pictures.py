"""Pictures of signals: ECGs on millimetre paper, vital signs of several patients over hours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.modality import Record, Rows
from ...core.types import FloatArray
from .channels import VITALS, Channel
from .layout import RATE
from .leads import leads_of
from .time_metrics import channels_of_all, stacked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MM_S, MM_MV = 25, 10  # paper speed and gain
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
ROW_MM, SECONDS = 28, 10
PAPER, FINE, COARSE, INK = "#fff8f6", "#f8d9d5", "#eeaaa2", "#14213d"
UNITS = {"Cel": "°C", "mm[Hg]": "mmHg"}
SHOWN = 12  # channels of a picture at most
LABELS = {
    "HR": "Heart rate", "O2Sat": "Oxygen saturation", "Temp": "Temperature", "MAP": "Mean arterial pressure",
    "SBP": "Systolic pressure", "Resp": "Respiratory rate",
}  # fmt: skip
LABEL = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1}
PATIENTS = 5
TINTS = ("#1b6ca8", "#d1495b", "#2e8b57", "#8e5ea2", "#c77d0a")


def draw_ecgs(figure: "Figure", real: Rows, synthetic: Rows) -> str:
    """Sheets in the usual layout of 3 rows of 4 leads and a rhythm strip, real above synthetic.

    An ECG of fewer leads has a row a lead. Without real rows, two synthetic ones, the second with atrial fibrillation
    where there is one.
    """
    first = [row for row in synthetic if not row[0].has("I48.91")] or list(synthetic)
    second = [row for row in synthetic if row[0].has("I48.91") and row is not first[0]] or list(first[1:])
    sheets = [("Real, held out", real[0])] if real else []
    sheets += [("Synthetic", row) for row in (first[0], *second[:1])]
    rows = max(len(_rows(record)) for _, (_, record) in sheets)
    tall = rows * ROW_MM + 12
    figure.set_size_inches(12.4, 12.4 * tall / (SECONDS * MM_S + 8) * len(sheets) + 0.3 * len(sheets))
    axes = np.atleast_1d(figure.subplots(len(sheets), 1))
    figure.subplots_adjust(
        left=0.005, right=0.995, top=1 - 0.3 / figure.get_figheight(), bottom=0.005, hspace=0.08
    )
    for axis, (title, (profile, record)) in zip(axes, sheets, strict=True):
        _sheet(axis, record, tall)
        rate = record.facts.get("heart_rate")
        rhythm = "atrial fibrillation" if profile.has("I48.91") else record.facts.get("rhythm")
        facts = [f"{rate:.0f} /min" if rate is not None and np.isfinite(rate) else "", str(rhythm or "")]
        more = "   ".join(["", *(fact for fact in facts if fact), f"{MM_S} mm/s, {MM_MV} mm/mV"])
        axis.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=5)
        axis.set_title(more, loc="right", fontsize=10, pad=5)
    shown = ", ".join(title.split(",")[0].lower() for title, _ in sheets)
    title = leads_of(sheets[-1][1][1]).title
    strip = " with a rhythm strip of lead II" if title == "12-lead ECG" else ""
    return f"{title} on millimetre paper{strip}, from the top: {shown}."


def _rows(record: Record) -> list[tuple[str, ...]]:
    """The leads of each row of paper, one after the other."""
    leads = leads_of(record)
    return [*LAYOUT, ("II",)] if leads.standard else [(name,) for name in leads.names]


def _sheet(axis: "Axes", record: Record, tall: float) -> None:
    """One record on paper; axis units are millimetres."""
    ecg = np.asarray(record.arrays["ecg"], dtype=np.float64)
    ecg = ecg - np.median(ecg, axis=1, keepdims=True)
    wide = SECONDS * MM_S
    axis.set(xlim=(-6, wide + 2), ylim=(0, tall), aspect="equal", xticks=[], yticks=[], facecolor=PAPER)
    for step, colour, thick in ((1, FINE, 0.35), (5, COARSE, 0.6)):
        axis.vlines(np.arange(-5, wide + 2, step), 0, tall, color=colour, linewidth=thick, zorder=0)
        axis.hlines(np.arange(0, tall, step), -6, wide + 2, color=colour, linewidth=thick, zorder=0)
    for spine in axis.spines.values():
        spine.set_color(COARSE)
    place = {name: row for name, row in zip(leads_of(record).names, ecg, strict=True)}
    for r, names in enumerate(_rows(record)):
        base, part = tall - 8 - (r + 0.55) * ROW_MM, SECONDS / len(names)
        _pulse(axis, base)
        for c, name in enumerate(names):
            _trace(axis, place[name], name, c * part, (c + 1) * part, base)


def _trace(axis: "Axes", lead: FloatArray, name: str, start: float, end: float, base: float) -> None:
    """One lead from start to end seconds, in its own row; what would leave the row is cut at its edge."""
    part = lead[int(start * RATE) : int(end * RATE)]
    x = (start + np.arange(len(part)) / RATE) * MM_S
    y = base + np.clip(part * MM_MV, -ROW_MM * 0.75, ROW_MM * 0.9)
    axis.plot(x, y, color=INK, linewidth=0.75, solid_joinstyle="round")
    axis.text(start * MM_S + 1, base + 9, name, fontsize=9, fontweight="bold", color=INK, bbox=LABEL)


def _pulse(axis: "Axes", base: float) -> None:
    """The calibration mark: 1 mV for 0.1 s."""
    height = base + np.array([0, 0, 10, 10, 0, 0])
    axis.plot([-5, -4, -4, -1.5, -1.5, -0.5], height, color=INK, linewidth=0.75)


def draw_vitals(figure: "Figure", real: Rows, synthetic: Rows) -> str:
    """Five patients' courses and the band of all patients, a row a channel, real left and synthetic right."""
    sides = [("Real, held out", real), ("Synthetic", synthetic)] if real else [("Synthetic", synthetic)]
    channels = channels_of_all([record for _, rows in sides for _, record in rows])
    shown = _shown(channels, sides)
    figure.set_size_inches(12.4, 0.6 + 8.6 / 6 * max(len(shown), 2))
    axes = figure.subplots(len(shown), len(sides), squeeze=False, sharex=True, sharey="row")
    figure.subplots_adjust(left=0.075, right=0.99, top=0.95, bottom=0.055, hspace=0.14, wspace=0.03)
    hours = max(len(record.arrays["vitals"]) for _, rows in sides for _, record in rows)
    hours = min(hours, 48)
    for k, (title, rows) in enumerate(sides):
        stack = stacked([record for _, record in rows], hours)
        for axis, place in zip(axes[:, k], shown, strict=True):
            _channel(axis, stack[:, :, place])
            if k == 0:
                axis.set_ylabel(_axis_label(channels[place]), fontsize=8)
        axes[0, k].set_title(f"{title} ({len(rows)} patients)", fontsize=13, fontweight="bold", pad=8)
        axes[-1, k].set_xlabel("hours", fontsize=9)
    said = " beside ".join(f"{len(rows)} {title.split(',')[0].lower()} patients" for title, rows in sides)
    what = "Vital signs" if tuple(channels) == VITALS else f"{len(shown)} of {len(channels)} channels"
    return f"{what} over {hours} hours of {said}: the courses of {PATIENTS} and the range of all."


def _shown(channels: Sequence[Channel], sides: Sequence[tuple[str, Rows]]) -> list[int]:
    """Places of the channels that are drawn: of the seven vital signs six, of others those charted most often."""
    if tuple(channels) == VITALS:
        return [place for name in LABELS for place, channel in enumerate(channels) if channel.name == name]
    charts = [record.arrays["vitals"] for _, rows in sides for _, record in rows]
    charted = np.sum([np.isfinite(chart).sum(0) for chart in charts], axis=0)
    most = np.argsort(-charted, kind="stable")[:SHOWN]
    return sorted(int(place) for place in most)


def _axis_label(channel: Channel) -> str:
    name = LABELS.get(channel.name, channel.name) if channel in VITALS else channel.name
    unit = UNITS.get(channel.unit, channel.unit)
    return f"{name}\n{unit}".replace("arterial ", "arterial\n")


def _channel(axis: Any, values: FloatArray) -> None:
    """(patient, hour) of one channel: the middle 90 % of all patients, and dots and lines of a few."""
    hour = np.arange(values.shape[1])
    enough = np.isfinite(values).sum(0) >= 5
    if enough.any():
        low, middle, high = np.nanpercentile(values[:, enough], [5, 50, 95], axis=0)
        axis.fill_between(hour[enough], low, high, color="#8fb8d8", alpha=0.28, linewidth=0)
        axis.plot(hour[enough], middle, color="#4a6fa5", linewidth=2.2, alpha=0.55)
    for row, colour in zip(values[:PATIENTS], TINTS, strict=False):
        there = np.isfinite(row)
        axis.plot(hour[there], row[there], color=colour, linewidth=0.9, marker="o", markersize=2.2)
    axis.grid(color="#e6e9ee", linewidth=0.7)
    axis.tick_params(labelsize=8, length=2)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
