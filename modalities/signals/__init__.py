"""Signals: ECG and hourly vitals of a patient, one heart rate and rhythm in both, written as WFDB."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...core.assertions import Assertion
from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.extras import need
from ...core.identity import changed
from ...core.modality import Batch, Conditioner, Generator, Record, TrainingSet, View
from ...core.profile import PatientProfile
from ...core.training.weights import Weights, available, find, load, own, read_card
from .acquisition import Acquisition, SignalsOptions
from .channels import VITALS as SHIPPED_CHANNELS
from .channels import channels_of, stated, step_of
from .layout import ECG_GAIN
from .leads import leads_in, leads_of

if TYPE_CHECKING:
    from ...core.cohort.watermark import Mark, Tally
    from ...core.training.fit import Fit
    from .ecg.sampler import EcgSampler
    from .live.monitor import Monitor

ECG, VITALS = "ecg", "vitals"


class Config(Settings):
    """The `model` part of a training YAML; kind is ecg, vitals, or vitals_gan: a refiner of what others draw."""

    kind: str
    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


def _kind(data: TrainingSet) -> str:
    """What a folder's records are. Raises InputError unless its options say so."""
    kind = data.options.get("kind")
    if kind not in (ECG, VITALS):
        got = "nothing" if kind is None else repr(kind)
        raise InputError(
            f"{data.source.name}: options.kind: expected {ECG} or {VITALS}, got {got}; write "
            f"`options: {{kind: {ECG}}}` or `options: {{kind: {VITALS}}}` in dataset.yaml"
        )
    return str(kind)


class Signals:
    """An ECG, of 10 s if not asked for more, and the vitals of the first day."""

    name = "signals"
    after: tuple[str, ...] = ()
    shared = False
    indication = "every patient has a 12-lead ECG and hourly vitals of one day"

    @property
    def bytes_per_record(self) -> int:
        """For an early look at the room on a disk, in all formats: a second of ECG 12 kB, an hour at the bedside 50."""
        return 1_000_000 + 48_000 * self.options.seconds + 110_000 * self.options.bedside

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = parse(SignalsOptions, dict(options or {}), "signals options")
        self.kinds = own((ECG, VITALS)) or (ECG, VITALS)  # an instance has what it has weights of
        self.indication = _indication(self.kinds)
        self._sampler: EcgSampler | None = None  # of live monitors, loaded once for all of them

    def indicated(self, profile: PatientProfile) -> bool:
        """Everyone."""
        return True

    def weights(self) -> list[str]:
        """One file a kind of signal."""
        return list(self.kinds)

    def require_packages(self) -> None:
        """EDF needs edfio; see core.capabilities.NeedsPackages."""
        if "edf" in self.options.formats:
            need("signals.formats: edf", "edfio")

    def weight_kinds(self) -> Mapping[str, tuple[str, ...]]:
        """What the kinds begin with, by name; see core.capabilities.WeightKinds."""
        return {
            ECG: ("Gaussian copula of time-aligned beats",),
            VITALS: ("autoregressive GRU", "Gaussian copula of stays"),
        }

    def generator(self, columns: Sequence[str]) -> Generator:
        """The shipped or user's weights named `ecg` and `vitals`."""
        from .model import SignalsGenerator

        how = self.options
        self.require_packages()
        ecg, vitals = (load(find(kind)) if kind in self.kinds else None for kind in (ECG, VITALS))
        drawn = SignalsGenerator(
            ecg, vitals, columns, how.device, how.stay, how.seconds, how.paroxysmal, how.levels, how.refine, how.critic
        )  # fmt: skip
        return Acquisition(drawn, how)

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: Weights | None,
    ) -> Weights:
        """Train the ECG or the vitals model, as config's `kind` says; ECGs under a budget start from `init`."""
        from .ecg.model import train_ecg
        from .vitals.model import train_vitals
        from .vitals.refiner_training import train_refiner

        trainers = {ECG: train_ecg, VITALS: train_vitals, f"{VITALS}_gan": train_refiner}
        kinds = {part.source.name: _kind(part) for part in data}
        settings = parse(Config, dict(config), "model")
        if settings.kind not in trainers:
            raise InputError(f"model.kind: expected one of {', '.join(trainers)}, got {settings.kind!r}")
        wanted = settings.kind.removesuffix("_gan")
        for name, kind in kinds.items():
            if kind != wanted:
                raise InputError(f"{name}: options.kind: expected {wanted}, as model.kind says, got {kind}")
        return trainers[settings.kind](data, conditioner, settings.network, settings.training, fit, init)

    def load(self, data: TrainingSet) -> list[Record]:
        """Real ECGs or vitals, as the folder's option `kind` says."""
        if _kind(data) == ECG:
            from .ecg.windows import read_ecgs

            return read_ecgs(data)
        from .data import read_vitals

        return read_vitals(data)

    def baselines(self, data: TrainingSet) -> list[Mapping[str, float]]:
        """Heart rate of ECGs, medians of vital signs; see core.capabilities.Measuring."""
        return [record.facts["baseline"] for record in self.load(data)]

    def windows(self, data: TrainingSet) -> Iterator[tuple[PatientProfile, Record]]:
        """Each patient's records, long ECGs cut into several; see core.capabilities.Windowed."""
        if _kind(data) == ECG:
            from .ecg.windows import windows

            yield from windows(data)
        else:
            yield from zip(data.profiles, self.load(data), strict=True)

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """WFDB records, and the other formats asked for."""
        from .export import export

        return export(records, profiles, folder, self.options)

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """Nothing is shared."""
        return []

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Signals of a cohort."""
        from .export import read

        return {name: stated(record) for name, record in read(folder, patient_ids).items()}

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        """What headers, marks and traces say; see core.capabilities.Asserting."""
        from .assertions import assertions

        return assertions(folder, patient_ids)

    def live_rules(self) -> Mapping[str, type[Settings]]:
        """Rules that a live monitor may follow, by name."""
        from .live.rules import RULES

        return RULES

    def live(
        self, profile: PatientProfile, record: Record, seed: int, *, row: Batch | None = None,
        columns: Sequence[str] = (), **how: Any,
    ) -> "Monitor":  # fmt: skip
        """The record at the bedside; `row` of these columns is what it was drawn from, None where that is not known.

        `how` as live.Monitor takes it.
        """
        from .live.monitor import Monitor

        origin = self._origin(row, columns)
        return Monitor(profile, record, seed, origin=origin, noise=self.options.noise, **how)

    def _origin(self, row: Batch | None, columns: Sequence[str]) -> "tuple[EcgSampler, Batch] | None":
        if row is None or ECG not in self.kinds:
            return None
        from .ecg.sampler import EcgSampler

        if self._sampler is None:
            how = self.options
            self._sampler = EcgSampler(
                load(find(ECG)), columns, how.device, how.seconds, how.paroxysmal, how.critic
            )
        return self._sampler, row

    def mark(self, record: Record, mark: "Mark", patient_id: str) -> Record:
        """With a watermark; see core.capabilities.Watermarking."""
        from . import watermark

        if self.options.ecg_gain != ECG_GAIN:
            raise InputError(
                f"signals.ecg_gain: a watermark needs {ECG_GAIN} steps a mV, got {self.options.ecg_gain}"
            )
        return changed(watermark.mark(record, mark, patient_id))

    def marks(self, record: Record, mark: "Mark", patient_id: str) -> "Tally":
        """How far a record agrees with a watermark."""
        from . import watermark

        return watermark.marks(record, mark, patient_id)

    def column_names(self, array: str, record: Record) -> tuple[str, ...]:
        """Leads of an ECG, channels of a chart; see core.capabilities.NamedColumns."""
        if array != VITALS:
            return leads_of(record).names
        return tuple(channel.name for channel in channels_of(record.facts))

    def views(self) -> list[View]:
        """ECG and chart, apart, as the weights in force draw them."""
        from .metrics import chart_title, views

        model = read_card(there[VITALS]).model if VITALS in (there := available()) else {}
        return self._drawn(views(chart_title(channels_of(model), step_of(model))))

    def views_of(self, data: Sequence[TrainingSet]) -> list[View]:
        """The same of the first chart that real data have; see core.capabilities.ViewsOfData."""
        from .metrics import chart_title, views
        from .vitals.options import series_options, sources

        for part in data:
            if _kind(part) == VITALS:
                where = f"{part.source.name}: options"
                settings = series_options(part.options, where)
                found = sources(settings, where, part.vocabulary)
                title = chart_title([source.channel for source in found], settings.step_hours)
                return self._drawn(views(title))
        return self.views()

    def _drawn(self, found: list[View]) -> list[View]:
        return [view for view in found if view.needs in self.kinds]


def _indication(kinds: Sequence[str]) -> str:
    """Who has which signals, by the cards of the weights in force."""
    there = available()
    if not set(kinds) <= set(there):
        return Signals.indication
    cards = {kind: read_card(there[kind]) for kind in kinds}
    if {card.modality for card in cards.values()} != {"signals"}:  # which is refused where they are used
        return Signals.indication
    said = []
    if ECG in cards:
        said.append(f"a {len(leads_in(cards[ECG].model).names)}-lead ECG")
    if VITALS in cards:
        channels = channels_of(cards[VITALS].model)
        usual = channels in ((), SHIPPED_CHANNELS)
        said.append(
            "hourly vitals of one day" if usual else f"a chart of {len(channels)} channels of one day"
        )
    return f"every patient has {' and '.join(said)}"
