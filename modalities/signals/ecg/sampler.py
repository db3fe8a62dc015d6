"""Draw hearts, and 12-lead ECGs of them, from trained weights: records, and streams without end."""

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
from ..layout import LEFT_BLOCK, PACED, RATE, RIGHT_BLOCK, twelve_leads
from .atria import Flutter, Waves, conduction, fibrillatory, without_p
from .ectopic import EctopicLaw
from .morphology import Heart, HeartLaw
from .pacing import Spikes
from .rhythm import (
    ARRHYTHMIA,
    ATRIAL,
    FIBRILLATION,
    FLUTTER,
    NORMAL,
    SINUS,
    STEADY,
    VENTRICULAR,
    Beat,
    Ectopy,
    Paroxysms,
    Variability,
    draw_beats,
    followed,
)
from .trace import STEP, blocks, marks

AF, AFL, SWAYING, VENTRICULAR_EARLY, ATRIAL_EARLY = "I48.91", "I48.92", "I49.8", "I49.3", "I49.1"
PACEMAKER = "Z95.0"
RHYTHMS = {AF: FIBRILLATION, AFL: FLUTTER, SWAYING: ARRHYTHMIA}
# the WFDB code of a patient's own beats, by diagnosis; the first that holds
OWN_BEATS = {PACEMAKER: PACED, "I44.7": LEFT_BLOCK, "I45.10": RIGHT_BLOCK}
Follow = Callable[[float, float], float]  # time in s and the heart's own rate to the rate then, both a minute
BY_RULE = "rule-based"  # of what no data teach


class EcgModel(Settings):
    """How many principal components describe each wave's shape and the noise."""

    p: int = 16
    qrs: int = 32
    t: int = 20
    noise: int = 30
    seconds: float = 10.0


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
class Drawn:
    """A patient's heart and how it beats, of which traces are made: `rate` a minute, and what trace.blocks takes."""

    rng: np.random.Generator
    rate: float
    heart: Heart
    beats: Iterator[Beat]
    ventricular: FloatArray | None
    atria: Waves | None
    rhythm: str
    spikes: Spikes | None = None
    paroxysms: Paroxysms | None = None

    def blocks(self) -> Iterator[tuple[FloatArray, list[Beat]]]:
        """(8, 5000) mV and the beats in it, without end."""
        return blocks(self.rng, self.heart, self.beats, self.ventricular, self.atria, self.spikes)

    def record(self, samples: int) -> tuple[Float32Array, list[Beat]]:
        """(12, sample) mV, and the beats in it."""
        out, own = np.empty((12, samples), dtype=np.float32), list[Beat]()
        for place, (block, inside) in zip(range(0, samples, STEP), self.blocks(), strict=False):
            out[:, place : place + STEP] = twelve_leads(block[:, : samples - place])
            own += inside
        return out, [beat for beat in own if beat.at < samples / RATE]

    def facts(self, seconds: float) -> dict[str, object]:
        """The rhythm of a record of that length, when it changes (sample, name), and whether by rule."""
        pacing = {} if self.spikes is None else {"pacing_basis": BY_RULE}
        if self.paroxysms is None:
            shown = SINUS if self.rhythm == ARRHYTHMIA else self.rhythm
            return {"rhythm": shown, **({"rhythm_basis": BY_RULE} if shown == FLUTTER else {}), **pacing}
        changes = [[round(at * RATE), name] for at, name in self.paroxysms.changes(seconds)]
        return {"rhythm": FIBRILLATION, "rhythm_basis": BY_RULE, "rhythm_changes": changes, **pacing}


class EcgSampler:
    """12-lead ECGs from trained weights, one row at a time, so that rows cannot touch each other.

    `recorder` is one of those of the weights, the first if not said; `seconds` how long a record is. Where
    fibrillation is `paroxysmal`, it comes and goes in episodes, by rule.
    """

    def __init__(
        self,
        weights: Weights,
        columns: Sequence[str],
        recorder: str | None = None,
        seconds: float | None = None,
        paroxysmal: bool = False,
    ) -> None:
        self.card, self.columns, self.paroxysmal = weights.card, columns, paroxysmal
        self.seconds = seconds or EcgModel(**weights.card.model["network"]).seconds
        self.rhythm = Variability(**weights.card.model["rhythm"])
        names = weights.card.model["recorders"]
        if recorder is not None and recorder not in names:
            raise InputError(f"signals.recorder: expected one of {', '.join(names)}, got {recorder!r}")
        place = names.index(recorder) if recorder else 0
        self.recorder = np.eye(len(names), dtype=np.float32)[place]
        self._diagnoses = [
            (weights.card.columns.index(name), weights.card.columns.index(f"{name}?"))
            for name in weights.card.model["knows"][place]
            if name in weights.card.columns
            and f"{name}~sin1" not in weights.card.columns  # a flag, not a number
        ]
        self.law, self.ectopic = HeartLaw.of(weights.tensors), EctopicLaw.of(weights.tensors)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row; see SignalsGenerator."""
        code = self._code(batch.condition)
        return [self._one(p, c, s) for p, c, s in zip(batch.profiles, code, batch.seeds, strict=True)]

    def stream(
        self, profile: PatientProfile, condition: Float32Array, seed: int
    ) -> Iterator[tuple[Float32Array, list[Beat]]]:
        """(12, 5000) mV and the beats in it, ten seconds after ten seconds without end; `sample` is how it begins."""
        for block, inside in self.draw(profile, condition, seed).blocks():
            yield twelve_leads(block), inside

    def draw(
        self, profile: PatientProfile, condition: Float32Array, seed: int, follow: Follow | None = None
    ) -> Drawn:
        """The heart and rhythm of the record of that seed. A flutter's conduction follows `follow`."""
        return self._drawn(profile, self._code(condition[None])[0], seed, follow)

    def _code(self, condition: Float32Array) -> Float32Array:
        """(row, column) of the weights. A diagnosis that the recorder's data tell of and a profile does not is absent.

        Nobody in the data has it unknown; between present and absent lies a heart with a bit of every disease.
        """
        code = select(condition, self.columns, self.card.columns)
        for value, known in self._diagnoses:
            unknown = code[:, known] == 0
            code[unknown, value], code[unknown, known] = -1, 1
        return code

    def _drawn(
        self, profile: PatientProfile, code: Float32Array, seed: int, follow: Follow | None = None
    ) -> Drawn:
        rng = np.random.Generator(np.random.PCG64(seed))
        rhythm = rhythm_of(profile)
        in_episodes = self.paroxysmal and rhythm == FIBRILLATION
        regular = in_episodes or rhythm in (SINUS, ARRHYTHMIA)
        usual = rng.normal(72, 12) if regular else rng.normal(88, 15)
        rate = profile.measurements.get("heart_rate", float(np.clip(usual, 45, 140)))
        if in_episodes:
            code = self._without(code, AF)
        heart = self.law.draw(rng, np.concatenate([code, self.recorder]))
        if not regular:
            heart = without_p(heart)
        ectopy, ventricular = self._ectopy(rng, profile, heart)
        spikes = Spikes(rng, float(heart.marks[1])) if profile.has(PACEMAKER) else None
        if rhythm == FLUTTER:
            waves, variable = conduction(rng, rate)
            flutter = Flutter(rng, waves, lambda time: follow(time, rate) if follow else rate, variable)
            return Drawn(rng, rate, heart, flutter.beats(), ventricular, flutter.waves, rhythm, spikes)
        age = 60.0 if profile.age is None else profile.age
        how = STEADY if spikes else SINUS if in_episodes else rhythm
        beats = draw_beats(rng, rate, age, how, self.rhythm, self.seconds, ectopy)
        drawn = Drawn(rng, rate, heart, beats, ventricular, None, rhythm, spikes)
        return self._in_episodes(drawn, seed, follow) if in_episodes else drawn

    def _in_episodes(self, drawn: Drawn, seed: int, follow: Follow | None) -> Drawn:
        """The heart of a sinus rhythm, fibrillating by turns."""
        rng = np.random.Generator(np.random.PCG64([seed, 6]))
        paroxysms, own = Paroxysms(rng, self.seconds), drawn.rate
        beats = followed(
            drawn.beats, own, lambda time: follow(time, own) if follow else own, paroxysms.on, rng
        )
        return replace(drawn, beats=beats, atria=fibrillatory(rng, paroxysms.on), paroxysms=paroxysms)

    def _without(self, code: Float32Array, condition: str) -> Float32Array:
        """(column,) of a profile that has not the condition."""
        columns, out = self.card.columns, code.copy()
        if condition in columns:
            out[columns.index(condition)], out[columns.index(f"{condition}?")] = -1, 1
        return out

    def _ectopy(
        self, rng: np.random.Generator, profile: PatientProfile, heart: Heart
    ) -> tuple[Ectopy | None, FloatArray | None]:
        share = {
            kind: float(rng.uniform(0.06, 0.25))
            for kind, code in ((VENTRICULAR, VENTRICULAR_EARLY), (ATRIAL, ATRIAL_EARLY))
            if profile.has(code)
        }
        if VENTRICULAR in share and self.ectopic is None:
            raise InputError(f"{VENTRICULAR_EARLY}: the ECG weights were trained without ventricular beats")
        shape = (
            self.ectopic.draw(rng, heart.beat) if VENTRICULAR in share and self.ectopic is not None else None
        )
        return (Ectopy(share) if share else None), shape

    def _one(self, profile: PatientProfile, code: Float32Array, seed: int) -> Record:
        own = self._drawn(profile, code, seed)
        samples = int(self.seconds * RATE)
        ecg, inside = own.record(samples)
        peaks = np.array([min(round(beat.at * RATE), samples - 1) for beat in inside], dtype=np.int64)
        shown = float(60 * RATE / np.median(np.diff(peaks))) if len(peaks) > 2 else 0.0
        usual = next((mark for name, mark in OWN_BEATS.items() if profile.has(name)), NORMAL)
        facts = {
            "heart_rate": round(shown, 1), **own.facts(self.seconds), "beats": len(peaks),
            "kinds": "".join(usual if beat.kind == NORMAL else beat.kind for beat in inside),
            "waves": [list(mark) for mark in marks(own.heart, inside, samples)],
        }  # fmt: skip
        return Record({"ecg": ecg, "r_peaks": peaks}, facts)
