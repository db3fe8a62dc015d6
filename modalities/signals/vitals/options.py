"""What a training folder says of its charts: the form of the files, their columns, and the channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10
from typing import Any, Literal

from pydantic import Field, field_validator

from ....core.config import Settings, parse
from ....core.errors import InputError
from ....core.fields import SHIPPED, Text, Vocabulary
from ....core.remarks import remark
from ..channels import CHANNELS, VITALS, Channel

MOST = 64  # channels
OF_ANY = ("modality", "kind", "reference", "constants")  # options of folders of any records
Form = Literal["wide", "long", "wfdb", "meds", "omop"]
ROWS = 24  # of time, where the folder does not say


class ChannelColumn(Settings):
    """Where a channel stands in the table, and how its numbers become the channel's unit: scale * x + offset."""

    column: str
    scale: float = 1.0
    offset: float = 0.0


class ChannelOptions(Settings):
    """A channel as dataset.yaml describes it.

    It is found by `column` (of a wide table, or the signal's name of WFDB), by `code` (the word in a long table, a MEDS
    code) or by `concept` (OMOP); else by its name. `unit`, `range`, `decimals`, `loinc` and `label` are those of the
    shipped vital sign of that name, or of the profile field `field`, where they are not said. `field` is the profile
    field that the channel's median is the value of.
    """

    column: str | None = None
    code: Text | None = None
    concept: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    range: tuple[float, float] | None = None
    decimals: int | None = Field(default=None, ge=0, le=6)
    loinc: str | None = None
    label: str | None = None
    field: str | None = None


class SeriesOptions(Settings):
    """What a training folder says of its charts.

    `form` is that of the files: `wide` (a row an hour, a column a channel), `long` (a row a reading: time, channel,
    value), `wfdb` (a record of slow signals a stay), `meds` (events) or `omop` (the table measurement). `series` is the
    table, or a pattern of tables. `key` and `hour` are columns: the stay's id, and its time in hours (any zero, parts
    allowed) or as a date and time; of long tables also `channel` and `value`. `step_hours` is the time from row to row
    of the chart, `hours` its length. `onset` turns from 0 to 1 `lead` hours ahead of sepsis (wide tables). `shortest`
    says that no stay is shorter, which a private run cannot see. `columns` is for vital signs under other names or
    units, `channels` for any others, or for some of them.
    """

    form: Form = "wide"
    series: str | None = None
    key: str | None = None
    hour: str | None = None
    channel: str | None = None
    value: str | None = None
    hours: float | None = Field(default=None, gt=0)
    step_hours: float = Field(default=1.0, gt=0)
    shortest: float = Field(default=0.0, ge=0)
    onset: str | None = None
    lead: float = 0
    columns: dict[str, ChannelColumn] = Field(default_factory=dict)
    channels: dict[str, ChannelOptions] = Field(default_factory=dict, max_length=MOST)

    @field_validator("channels", mode="before")
    @classmethod
    def _named_shortly(cls, values: Any) -> Any:
        """A list of names, or names without a description, are channels that ship."""
        if isinstance(values, list | tuple):
            values = {str(name): None for name in values}
        if not isinstance(values, Mapping):
            return values
        if not values:
            raise ValueError("expected at least one channel; leave it out for the seven vital signs")
        return {str(name): {} if value is None else value for name, value in values.items()}

    @property
    def rows(self) -> int:
        """How many rows of time a chart has."""
        return ROWS if self.hours is None else max(1, round(self.hours / self.step_hours))


@dataclass(frozen=True)
class Source:
    """A channel, the name or code under which it stands in the files, and how its numbers become its unit."""

    channel: Channel
    name: str
    scale: float = 1.0
    offset: float = 0.0


def series_options(options: Mapping[str, Any], where: str) -> SeriesOptions:
    """Of a folder's options, those that are about charts. Raises InputError."""
    known = {name: value for name, value in options.items() if name not in OF_ANY}
    return parse(SeriesOptions, known, where)


def sources(settings: SeriesOptions, where: str, vocabulary: Vocabulary = SHIPPED) -> list[Source]:
    """The channels of a folder, in its order. Raises InputError for one that is not described well enough."""
    for name in settings.columns:
        if name not in CHANNELS:
            raise InputError(
                f"{where}: columns: unknown channel {name!r}; expected some of {', '.join(CHANNELS)}, or describe it: "
                f"channels: {{{name}: {{column: {settings.columns[name].column}, unit: UNIT, range: [LOW, HIGH]}}}}"
            )
    if not settings.channels:
        return [
            Source(channel, given.column, given.scale, given.offset)
            for channel in VITALS
            for given in [settings.columns.get(channel.name, ChannelColumn(column=channel.name))]
        ]
    return [
        _source(name, given, settings, f"{where}: channels.{name}", vocabulary)
        for name, given in settings.channels.items()
    ]


def _source(
    name: str, given: ChannelOptions, settings: SeriesOptions, where: str, vocabulary: Vocabulary
) -> Source:
    if not name.isprintable() or not name.strip() or len(name) > 16 or any(c in name for c in "\"'\\/"):
        raise InputError(
            f"{where}: a channel's name has 1 to 16 printable characters without quotes or slashes"
        )
    usual = next((channel for channel in VITALS if channel.name == name), None)
    unit, span, decimals = given.unit, given.range, given.decimals
    loinc, label, field = given.loinc or "", given.label or "", given.field or ""
    if usual is not None and (unit is None or unit == usual.unit):
        unit, span = usual.unit, span or (usual.low, usual.high)
        decimals = usual.decimals if decimals is None else decimals
        loinc, label = loinc or usual.loinc, label or usual.label
        field = usual.field if given.field is None else field
    if field and (usual is None or field != usual.field):
        known = vocabulary.field(field, where)
        if known.kind != "number" or not known.settled:
            raise InputError(f"{where}: field: expected a number with a range, {field} is a {known.kind}")
        if unit is not None and unit != known.unit:
            raise InputError(
                f"{where}: unit {unit!r} is not that of the field {field} ({known.unit!r}); give scale into it"
            )
        unit, span = known.unit, span or (known.low, known.high)
        decimals = known.decimals if decimals is None else decimals
        loinc, label = loinc or known.codes.get("loinc", ""), label or known.label
    if span is None or unit is None:
        raise InputError(
            f"{where}: expected a unit (UCUM; '' for a score) and the public range of plausible readings: "
            f"{{unit: mmol/L, range: [0, 30]}}, or a field of the vocabulary that has them (`field: lactate`)"
        )
    low, high = span
    if not low < high:
        raise InputError(f"{where}: range: expected the lower end first, got [{low:g}, {high:g}]")
    if decimals is None:
        decimals = max(0, 2 - round(log10(high - low)))
    channel = Channel(name, unit, float(low), float(high), decimals, loinc, label or name, field)
    if (fits := max(0, round(log10(channel.gain)))) < decimals:
        remark(
            f"{where}: {decimals} decimals of up to {high:g} do not fit the files' 16 bits; {fits} are kept"
        )
        channel = Channel(name, unit, float(low), float(high), fits, loinc, label or name, field)
    named = {"wide": given.column, "wfdb": given.column, "omop": given.concept}.get(settings.form, given.code)
    if settings.form == "omop" and given.concept is None:
        raise InputError(f"{where}: expected its concept in measurement: {{concept: 3027018}}")
    return Source(channel, str(name if named is None else named), given.scale, given.offset)
