"""Acquisition: from a drawn record to the recorded one, with its settings, its noise and its study."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from ...core.errors import InputError
from ...core.identity import identified
from ...core.modality import Batch, Generator, Record
from ...core.profile import PatientProfile
from .artefacts import Noise, add
from .channels import VITALS, channels_of, stated, step_of
from .export import ExportOptions
from .vitals.bedside import bedside
from .vitals.trajectory import Kind, Levels, Trajectory

HOURS = 24  # of a chart
LONG = 60  # s of an ECG in which an episode of fibrillation has room


class SignalsOptions(ExportOptions):
    """How signals are drawn, recorded and written.

    `device` is the acquisition device: a data set of the ECG weights. `seconds` is the length of an ECG; with
    `paroxysmal` patients of atrial fibrillation have it in episodes, which takes an ECG of a minute or more. Where
    the weights have a `critic`, it chooses among what the prior proposes; without, the prior draws.
    `trajectory` is that of all stays, with the `onset` of a sepsis in hours. `levels` says where the medians of
    a stay come from: the `profile`, as with the shipped weights, or the `chart` as it was learnt, as with weights of
    other data. `refine` is whether the adversarial refiner of vitals weights that have one moves readings: if not said,
    not with the shipped weights, and always with your own. `bedside` is the number of hours that are also written
    with one reading a second. `clean` adds the trace without its noise.
    """

    renamed: ClassVar[Mapping[str, str]] = {"recorder": "device", "course": "trajectory"}
    device: str | None = None
    seconds: int = Field(default=10, ge=10, le=3600)
    paroxysmal: bool = False
    critic: bool = True
    trajectory: Kind = "profile"
    onset: float | None = Field(default=None, ge=0, le=HOURS)
    levels: Levels | None = None
    refine: bool | None = None
    bedside: int = Field(default=0, ge=0, le=HOURS)
    noise: Noise = Noise()
    clean: bool = False

    @property
    def stay(self) -> Trajectory:
        """The trajectory as the vitals model takes it."""
        return Trajectory(kind=self.trajectory, **({} if self.onset is None else {"onset": self.onset}))

    @model_validator(mode="after")
    def _fit_together(self) -> "SignalsOptions":
        if self.paroxysmal and self.seconds < LONG:
            raise ValueError(f"paroxysmal needs an ECG of {LONG} s or more; set seconds too")
        if self.onset is not None and self.trajectory != "sepsis":
            raise ValueError("onset is the hour of a sepsis; set trajectory to sepsis too")
        if self.clean and self.noise.silent:
            raise ValueError("clean writes the trace without its noise; set a dial of noise too")
        return self


class Acquisition:
    """A generator's records as a device records them: with noise, bedside readings, and UIDs for other formats."""

    def __init__(self, drawn: Generator, options: SignalsOptions) -> None:
        self.drawn, self.options = drawn, options

    def sample(self, batch: Batch) -> list[Record]:
        """Row i from its own seed, with the UIDs of its study and the fact `chart`."""
        rows = zip(self.drawn.sample(batch), batch.profiles, batch.seeds, strict=True)
        return [self._recorded(record, profile, seed) for record, profile, seed in rows]

    def _recorded(self, drawn: Record, profile: PatientProfile, seed: int) -> Record:
        noisy = add(drawn, profile, seed, self.options.noise, self.options.clean)
        record = with_bedside(noisy, seed, self.options.bedside)
        return stated(identified(record, profile, seed, {}, {}))


def with_bedside(record: Record, seed: int, hours: int) -> Record:
    """The record with "bedside" (second, 7) of its first hours: what a monitor shows of that seed; see bedside().

    A stay that ended before has fewer; a channel that was never charted is NaN.
    """
    if "vitals" not in record.arrays or not hours:
        return record
    if channels_of(record.facts) != VITALS or step_of(record.facts) != 1:
        raise InputError(
            "signals.bedside: made up from the seven hourly vital signs, and the weights in force draw other channels; "
            "leave bedside out"
        )
    vitals = record.arrays["vitals"]
    if not (hours := min(hours, int(record.facts.get("hours", len(vitals))))):
        return record
    form = bedside(vitals, seed, rhythm=str(record.facts.get("rhythm", "sinus")))
    seconds = np.concatenate(list(islice(form, hours)))
    seconds[:, ~np.isfinite(vitals).any(0)] = np.nan
    return replace(record, arrays={**record.arrays, "bedside": seconds})
