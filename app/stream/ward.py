"""Ward: beds with a patient and a monitor each, from a cohort on disk or drawn for the occasion."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ...conditioning.encoder import ProfileEncoder
from ...core.capabilities import Live, LiveSource
from ...core.cohort.cohort import Cohort
from ...core.cohort.quarantine import require_free
from ...core.config import Settings
from ...core.errors import InputError
from ...core.limits import require
from ...core.modality import Batch, Modality, Record
from ...core.pipeline import Patient, generate
from ...core.profile import PatientProfile, seed_for
from ...core.registry import load_modality, vocabulary
from ...core.training import weights
from ..engines.use import recorded
from .network_faults import Fault, NetworkFaults
from .scenario import Event, Scenario, read_scenario

SIGNALS = ("ecg", "vitals", "ppg")
DEFAULT = ("ecg", "vitals")


@dataclass(frozen=True)
class Bed:
    """A patient in a bed. `midnight` begins the day of the visit, None without a calendar; `network` by signal.

    `renew` makes the same source from its beginning, for other rules of what befalls the patient, if asked for.
    """

    name: str
    profile: PatientProfile
    source: LiveSource
    events: tuple[Event, ...]
    network: Mapping[str, NetworkFaults]
    midnight: datetime | None
    renew: Callable[[Sequence[Settings]], LiveSource] | None = None

    def describe(self) -> dict[str, Any]:
        """Who lies there and what the signals are, in plain JSON types."""
        profile = self.profile
        known = {"age": profile.age, "sex": profile.sex, "height": profile.height, "weight": profile.weight}
        return {
            **{name: value for name, value in known.items() if value is not None},
            "conditions": sorted(code for code, present in profile.conditions.items() if present),
            "signals": self.source.describe(),
            "scenario": [event.describe() for event in self.events],
        }


@dataclass(frozen=True)
class Ward:
    """A ward's name and its beds."""

    name: str
    beds: tuple[Bed, ...]


MOST_BEDS = 10_000  # all of them are held in memory


@dataclass(frozen=True)
class WardRequest:
    """Which patients and signals a ward is to have. `start` is seconds after midnight, `rate` the ECG's in Hz.

    `options` of the modality go before those of a cohort that is drawn now. `renewable` keeps the records, so that a
    bed's rules can change while it is streamed.
    """

    patients: int | None = None
    seed: int = 0
    signals: tuple[str, ...] = DEFAULT
    rate: int = 500
    start: int = 0
    scenario: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    modality: str = "signals"
    renewable: bool = False


@dataclass(frozen=True)
class Drawing:
    """From what records were drawn: the run's seed and the name of the modality's stream below it."""

    seed: int
    stream: str
    encoder: ProfileEncoder

    def row(self, profile: PatientProfile) -> Batch:
        """The batch of one from which this patient's record came; see core.pipeline.generate."""
        seed = seed_for(self.seed, profile.patient_id, self.stream)
        return Batch((profile,), self.encoder.encode([profile]), (seed,))


def ward_of_cohort(folder: Path, request: WardRequest) -> Ward:
    """The first patients of a finished cohort.

    Raises InputError, also if it has fewer or lacks the modality, and Refused if it is in quarantine.
    """
    cohort = Cohort.open(folder)
    require_free(folder)
    cohort.require_complete()
    if request.modality not in cohort.manifest["modalities"]:
        raise InputError(
            f"{folder}: the cohort has no {request.modality}; draw one with --modalities {request.modality}"
        )
    if (request.patients or 0) > cohort.patients:
        raise InputError(f"--patients {request.patients}: {folder} has {cohort.patients} patients")
    with weights.using(recorded(cohort)):
        modality = load_modality(
            request.modality, cohort.manifest["modalities"][request.modality].get("options")
        )
        name = str(cohort.manifest["population"].get("name", folder.name))
        patients = islice(cohort.read([modality]), request.patients)
        return _ward(
            name,
            modality,
            patients,
            request.patients or cohort.patients,
            request,
            _drawing(cohort, request.modality),
        )


def ward_of_population(name: str, request: WardRequest) -> Ward:
    """Patients drawn now, from the weights in force. Raises InputError."""
    from ...conditioning.population import Population

    population = Population.load(name)
    options = {**population.config.options.get(request.modality, {}), **request.options}
    modality = load_modality(request.modality, options)
    number = 10 if request.patients is None else request.patients
    profiles = (population.patient(index, request.seed) for index in range(number))
    encoder = ProfileEncoder.of(population.vocabulary, modality.weights())
    patients = generate(profiles, [modality], encoder, request.seed)
    drawing = Drawing(request.seed, request.modality, encoder)
    return _ward(population.config.name, modality, patients, number, request, drawing)


def _drawing(cohort: Cohort, modality: str) -> Drawing | None:
    """How a cohort's records were drawn; None if that was with other weights than those in force, if it has any."""
    there = cohort.manifest.get("weights", {})
    used = cohort.manifest["modalities"][modality].get("weights", ())
    try:
        same = all(there.get(name) == weights.digest(weights.find(name)) for name in used)
    except InputError:  # no such weights here
        same = False
    if not same:
        return None
    draw = cohort.resampled.get(modality, 0)
    encoder = ProfileEncoder.of(vocabulary(), used)  # with what the weights declare
    if "seed" not in cohort.manifest:
        raise InputError(
            f"{cohort.folder}: its manifest has no seed, by which the ward draws on; copy it again"
        )
    return Drawing(int(cohort.manifest["seed"]), f"{modality}/{draw}" if draw else modality, encoder)


def _ward(
    name: str, modality: Modality, patients: Iterable[Patient], number: int, request: WardRequest,
    drawing: Drawing | None = None,
) -> Ward:  # fmt: skip
    require(patients=number)
    if number > MOST_BEDS:
        raise InputError(
            f"--patients: a stream has at most {MOST_BEDS:,} beds, got {number:,}; start several"
        )
    if not isinstance(modality, Live):
        raise InputError(
            f"--modality {request.modality}: cannot be streamed; expected a modality that has live() and live_rules()"
        )
    scenario = Scenario()
    if request.scenario is not None:
        scenario = read_scenario(request.scenario, modality.live_rules(), number)
    beds = tuple(_beds(modality, patients, number, request, scenario, drawing))
    if not any(bed.source.signals for bed in beds):
        raise InputError(f"none of these patients has {' or '.join(request.signals)}")
    return Ward(re.sub(r"[^\w.-]+", "-", name) or "ward", beds)


def _beds(
    modality: Live, patients: Iterable[Patient], number: int, request: WardRequest, scenario: Scenario,
    drawing: Drawing | None,
) -> Iterator[Bed]:  # fmt: skip
    for place, patient in enumerate(patients, 1):
        profile, events = patient.profile, tuple(scenario.of(place))
        seed = seed_for(request.seed, profile.patient_id, "stream")
        row = None if drawing is None else drawing.row(profile)
        renew = partial(
            modality.live, profile, patient.records.get(request.modality, Record({})),
            seed if row is None else row.seeds[0], signals=request.signals, rate=request.rate, start=request.start,
            **({} if drawing is None else {"row": row, "columns": drawing.encoder.columns}),
        )  # fmt: skip
        source = renew(rules=[event.settings for event in events if not event.is_fault])
        faults = [event.settings for event in events if isinstance(event.settings, Fault)]
        network = {name: NetworkFaults(faults, seed_for(seed, name, "line")) for name in source.signals}
        day = profile.index_date
        midnight = None if day is None else datetime.combine(day, time())
        name = f"bed-{place:0{len(str(number))}d}"
        again = partial(_renewed, renew) if request.renewable else None
        yield Bed(name, profile, source, events, network, midnight, again)


def _renewed(renew: Callable[..., LiveSource], rules: Sequence[Settings]) -> LiveSource:
    return renew(rules=rules)
