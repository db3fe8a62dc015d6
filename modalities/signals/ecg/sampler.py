"""Draw ECGs from trained weights: records of a given length, and streams without end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....core.condition import select
from ....core.config import Settings
from ....core.errors import InputError
from ....core.modality import Batch, Record
from ....core.profile import PatientProfile
from ....core.training.weights import Weights
from ....core.types import Float32Array, FloatArray
from ..layout import FIBRILLATION, FLUTTER, LEFT_BLOCK, PACED, RATE, RIGHT_BLOCK, SINUS
from ..leads import Leads, leads_in, noted
from .atria import Flutter, Waves, conduction, fibrillatory, without_p
from .ectopic import EctopicModel
from .morphology import Morphology, MorphologyModel
from .pacing import Spikes
from .rhythm import (
    ARRHYTHMIA,
    ATRIAL,
    NORMAL,
    PACED_RHYTHM,
    VENTRICULAR,
    Beat,
    Ectopy,
    Paroxysms,
    Variability,
    draw_beats,
    follow_rate,
)
from .trace import blocks, first_samples, marks

AF, AFL, SINUS_ARRHYTHMIA, PVC, PAC, PACEMAKER = "I48.91", "I48.92", "I49.8", "I49.3", "I49.1", "Z95.0"
RHYTHMS = {AF: FIBRILLATION, AFL: FLUTTER, SINUS_ARRHYTHMIA: ARRHYTHMIA}
# the WFDB code of a patient's usual beats, by diagnosis; the first that holds
USUAL_BEATS = {PACEMAKER: PACED, "I44.7": LEFT_BLOCK, "I45.10": RIGHT_BLOCK}
RateFunction = Callable[
    [float, float], float
]  # time in s and the record's rate to the rate then, both a minute
LOWER_RATES = (60, 90)  # /min at which pacemakers pace a patient at rest; a stated heart rate goes before
FEWEST = 20  # components to which a model is cut down where patients are few
BY_RULE = "rule-based"  # of what no data teach


class EcgModel(Settings):
    """How many principal components describe each wave's shape and the noise."""

    p: int = 16
    qrs: int = 32
    t: int = 20
    noise: int = 30
    seconds: float = 10.0

    def for_patients(self, count: int) -> "EcgModel":
        """No more components than half of the patients, but 20 where the model has them."""
        most = max(count // 2, FEWEST)
        fewer = {name: min(getattr(self, name), most) for name in ("p", "qrs", "t", "noise")}
        return self.model_copy(update=fewer)

    @property
    def patients_needed(self) -> int:
        """Two a component."""
        return 2 * max(self.p, self.qrs, self.t, self.noise)


def rhythm_of(profile: PatientProfile) -> str:
    """The rhythm that a profile's conditions name. Raises InputError for two at once."""
    named = {code: name for code, name in RHYTHMS.items() if profile.has(code)}
    if len(named) > 1:
        both = " and ".join(f"{name} ({code})" for code, name in named.items())
        raise InputError(
            f"{profile.patient_id}: {both} at once; an ECG shows one of them: set the other to false"
        )
    return next(iter(named.values()), SINUS)


@dataclass(frozen=True)
class EcgSource:
    """A patient's morphology, rhythm and `rate` a minute, from which traces of `leads` are made; see trace.blocks."""

    leads: Leads
    rng: np.random.Generator
    rate: float
    morphology: Morphology
    beats: Iterator[Beat]
    ventricular: FloatArray | None
    atria: Waves | None
    rhythm: str
    spikes: Spikes | None = None
    paroxysms: Paroxysms | None = None

    def blocks(self) -> Iterator[tuple[FloatArray, list[Beat]]]:
        """(free lead, 5000) mV and the beats in it, without end."""
        return blocks(self.rng, self.morphology, self.beats, self.ventricular, self.atria, self.spikes)

    def traces(self) -> Iterator[tuple[Float32Array, list[Beat]]]:
        """(lead, 5000) mV and the beats in it, without end."""
        return ((self.leads.drawn(block), beats) for block, beats in self.blocks())

    def facts(self, seconds: float) -> dict[str, object]:
        """The rhythm of a record of that length, when it changes (sample, name), and whether by rule."""
        pacing = {} if self.spikes is None else {"pacing_basis": BY_RULE}
        if self.paroxysms is None:
            shown = SINUS if self.rhythm == ARRHYTHMIA else self.rhythm
            return {"rhythm": shown, **({"rhythm_basis": BY_RULE} if shown == FLUTTER else {}), **pacing}
        changes = [[round(at * RATE), name] for at, name in self.paroxysms.changes(seconds)]
        return {"rhythm": FIBRILLATION, "rhythm_basis": BY_RULE, "rhythm_changes": changes, **pacing}


class EcgSampler:
    """ECGs of the leads that trained weights know, one row at a time, so that rows cannot touch each other.

    `device` is an acquisition device of the weights, by default the first; `seconds` is the length of a record. Where
    fibrillation is `paroxysmal`, it comes and goes in episodes, by rule. Where the weights have a critic it chooses
    morphologies, unless `critic` is off.
    """

    def __init__(
        self, weights: Weights, columns: Sequence[str], device: str | None = None, seconds: float | None = None,
        paroxysmal: bool = False, critic: bool = True,
    ) -> None:  # fmt: skip
        self.card, self.columns, self.paroxysmal, self.critic = weights.card, columns, paroxysmal, critic
        model = weights.card.model
        self.leads = leads_in(model)
        self.seconds = seconds or EcgModel(**model["network"]).seconds
        self.rhythm = Variability(**model["rhythm"])
        devices = model["recorders"]
        if device is not None and device not in devices:
            raise InputError(f"signals.device: expected one of {', '.join(devices)}, got {device!r}")
        place = devices.index(device) if device else 0
        self.device = np.eye(len(devices), dtype=np.float32)[place]
        self._shares: dict[str, float] = model.get("shares", {})
        self._diagnoses = [
            name
            for name in model["knows"][place]
            if name in weights.card.columns
            and name not in weights.card.declared
            and f"{name}~sin1" not in weights.card.columns  # a flag, not a number
        ]
        self.model, self.ectopic = MorphologyModel.of(weights.tensors), EctopicModel.of(weights.tensors)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row; see SignalsGenerator."""
        rows = zip(batch.profiles, batch.condition, batch.seeds, strict=True)
        return [self.record(profile, self.source(profile, code, seed)) for profile, code, seed in rows]

    def stream(
        self, profile: PatientProfile, condition: Float32Array, seed: int
    ) -> Iterator[tuple[Float32Array, list[Beat]]]:
        """(lead, 5000) mV and the beats in it, ten seconds after ten seconds without end; `sample` is how it begins."""
        return self.source(profile, condition, seed).traces()

    def source(
        self, profile: PatientProfile, condition: Float32Array, seed: int, rate_at: RateFunction | None = None
    ) -> EcgSource:
        """Morphology and rhythm of the record of that seed. A flutter's conduction follows `rate_at`."""
        rng = np.random.Generator(np.random.PCG64(seed))
        code, rhythm = self._code(condition, seed), rhythm_of(profile)
        in_episodes = self.paroxysmal and rhythm == FIBRILLATION
        regular = in_episodes or rhythm in (SINUS, ARRHYTHMIA)
        usual = rng.normal(72, 12) if regular else rng.normal(88, 15)
        slowest_and_fastest = LOWER_RATES if profile.has(PACEMAKER) else (45, 140)
        rate = profile.measurements.get("heart_rate", float(np.clip(usual, *slowest_and_fastest)))
        if in_episodes:
            code = self._without(code, AF)
        others = np.random.default_rng([seed, 9]) if self.critic else None
        morphology = self.model.draw(rng, np.concatenate([code, self.device]), others)
        if not regular:
            morphology = without_p(morphology)
        ectopy, ventricular = self._ectopy(rng, profile, morphology)
        spikes = Spikes(rng, float(morphology.fiducials[1])) if profile.has(PACEMAKER) else None
        if spikes:
            spikes.leads = self.leads.from_eight(spikes.leads)
        if rhythm == FLUTTER:
            waves, variable = conduction(rng, rate)
            flutter = Flutter(rng, waves, lambda time: rate_at(time, rate) if rate_at else rate, variable)
            beats, atria = flutter.beats(), self._of_leads(flutter.waves)
            return EcgSource(self.leads, rng, rate, morphology, beats, ventricular, atria, rhythm, spikes)
        age = 60.0 if profile.age is None else profile.age
        intervals = PACED_RHYTHM if spikes else SINUS if in_episodes else rhythm
        beats = draw_beats(rng, rate, age, intervals, self.rhythm, self.seconds, ectopy)
        source = EcgSource(self.leads, rng, rate, morphology, beats, ventricular, None, rhythm, spikes)
        if not in_episodes:
            return source
        rng = np.random.Generator(np.random.PCG64([seed, 6]))
        paroxysms = Paroxysms(rng, self.seconds)
        beats = follow_rate(
            beats, rate, lambda time: rate_at(time, rate) if rate_at else rate, paroxysms.on, rng
        )
        atria = self.fibrillatory(rng, paroxysms.on)
        return replace(source, beats=beats, atria=atria, paroxysms=paroxysms)

    def fibrillatory(self, rng: np.random.Generator, when: Callable[[float], bool]) -> Waves:
        """See atria.fibrillatory: in the free leads of these weights."""
        return self._of_leads(fibrillatory(rng, when))

    def _of_leads(self, waves: Waves) -> Waves:
        """Waves of I, II, V1 to V6 in the free leads."""
        return lambda time: self.leads.from_eight(waves(time))

    def _code(self, condition: Float32Array, seed: int) -> Float32Array:
        """(column,) of the weights. An unknown diagnosis is set to absent if the data of the device label it.

        Nobody in those data has it unknown; a code halfway to present would draw a bit of every disease. A declared
        flag that is unknown is drawn at its share in the data, where the card knows it.
        """
        code = select(condition[None], self.columns, self.card.columns)[0]
        for name in self._diagnoses:
            if code[self.card.columns.index(f"{name}?")] == 0:
                code = self._without(code, name)
        rng = np.random.default_rng([seed, 8])
        for name, share in self._shares.items():
            present = rng.uniform() < share
            if code[self.card.columns.index(f"{name}?")] == 0:
                code = self._with(code, name) if present else self._without(code, name)
        return code

    def _with(self, code: Float32Array, flag: str) -> Float32Array:
        """(column,) of a profile that has the flag."""
        out = code.copy()
        out[self.card.columns.index(flag)] = out[self.card.columns.index(f"{flag}?")] = 1
        return out

    def _without(self, code: Float32Array, condition: str) -> Float32Array:
        """(column,) of a profile that has not the condition."""
        columns, out = self.card.columns, code.copy()
        if condition in columns:
            out[columns.index(condition)], out[columns.index(f"{condition}?")] = -1, 1
        return out

    def _ectopy(
        self, rng: np.random.Generator, profile: PatientProfile, morphology: Morphology
    ) -> tuple[Ectopy | None, FloatArray | None]:
        """How often premature beats come, and the shape of ventricular ones."""
        share = {
            kind: float(rng.uniform(0.06, 0.25))
            for kind, code in ((VENTRICULAR, PVC), (ATRIAL, PAC))
            if profile.has(code)
        }
        if VENTRICULAR not in share:
            return (Ectopy(share) if share else None), None
        if self.ectopic is None:
            raise InputError(f"{PVC}: the ECG weights were trained without ventricular beats")
        return Ectopy(share), self.ectopic.draw(rng, morphology.beat)

    def record(self, profile: PatientProfile, source: EcgSource) -> Record:
        """The record of that source, which is used up."""
        samples = int(self.seconds * RATE)
        ecg, beats = first_samples(source.traces(), samples)
        peaks = np.array([min(round(beat.at * RATE), samples - 1) for beat in beats], dtype=np.int64)
        shown = float(60 * RATE / np.median(np.diff(peaks))) if len(peaks) > 2 else 0.0
        usual = next((mark for name, mark in USUAL_BEATS.items() if profile.has(name)), NORMAL)
        facts = {
            "heart_rate": round(shown, 1), **source.facts(self.seconds), "beats": len(peaks),
            "kinds": "".join(usual if beat.kind == NORMAL else beat.kind for beat in beats),
            "waves": [list(mark) for mark in marks(source.morphology, beats, samples)],
            **noted(self.leads),
        }  # fmt: skip
        return Record({"ecg": ecg, "r_peaks": peaks}, facts)
