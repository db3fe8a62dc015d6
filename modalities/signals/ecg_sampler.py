"""Draw hearts, and 12-lead ECGs of them, from trained weights: records, and streams without end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.condition import select
from ...core.config import Settings
from ...core.errors import InputError
from ...core.modality import Batch, Record
from ...core.profile import PatientProfile
from ...core.vocabulary import BY_NAME
from ...core.weights import Weights
from .atria import Flutter, Waves, conduction, without_p
from .data import twelve
from .ectopic import EctopicLaw
from .export import RATE
from .heart import Heart, HeartLaw
from .rhythm import ATRIAL, FIBRILLATION, FLUTTER, SINUS, VENTRICULAR, Beat, Ectopy, Variability, draw_beats
from .trace import blocks, marks, strip

AF, AFL, VENTRICULAR_EARLY, ATRIAL_EARLY = "I48.91", "I48.92", "I49.3", "I49.1"
Follow = Callable[[float, float], float]  # time in s and the heart's own rate to the rate then, both a minute
BASIS = {FLUTTER: {"rhythm_basis": "rule-based"}}  # of rhythms that no data teach


class EcgModel(Settings):
    """How many principal components describe each wave's shape and the noise."""

    p: int = 16
    qrs: int = 32
    t: int = 20
    noise: int = 30
    seconds: float = 10.0


def rhythm_of(profile: PatientProfile) -> str:
    """The rhythm that a profile's conditions name. Raises InputError for two at once."""
    fibrillates, flutters = profile.has(AF), profile.has(AFL)
    if fibrillates and flutters:
        raise InputError(
            f"{profile.patient_id}: atrial fibrillation ({AF}) and atrial flutter ({AFL}) at once; an ECG "
            "shows one of them: set the other to false"
        )
    return FIBRILLATION if fibrillates else FLUTTER if flutters else SINUS


@dataclass(frozen=True)
class Drawn:
    """A patient's heart and how it beats, of which traces are made: `rate` a minute, and what trace.blocks takes."""

    rng: np.random.Generator
    rate: float
    heart: Heart
    beats: Iterator[Beat]
    ventricular: NDArray[np.float64] | None
    atria: Waves | None
    rhythm: str

    def blocks(self) -> Iterator[tuple[NDArray[np.float64], list[Beat]]]:
        """(8, 5000) mV and the beats in it, without end."""
        return blocks(self.rng, self.heart, self.beats, self.ventricular, self.atria)


class EcgSampler:
    """12-lead ECGs from trained weights, one row at a time, so that rows cannot touch each other.

    `recorder` is one of those of the weights, the first if not said; `seconds` how long a record is.
    """

    def __init__(
        self,
        weights: Weights,
        columns: Sequence[str],
        recorder: str | None = None,
        seconds: float | None = None,
    ) -> None:
        self.card, self.columns = weights.card, columns
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
            if name in weights.card.columns and BY_NAME[name].kind == "condition"
        ]
        self.law, self.ectopic = HeartLaw.of(weights.tensors), EctopicLaw.of(weights.tensors)

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row; see SignalsGenerator."""
        code = self._code(batch.condition)
        return [self._one(p, c, s) for p, c, s in zip(batch.profiles, code, batch.seeds, strict=True)]

    def stream(
        self, profile: PatientProfile, condition: NDArray[np.float32], seed: int
    ) -> Iterator[tuple[NDArray[np.float32], list[Beat]]]:
        """(12, 5000) mV and the beats in it, ten seconds after ten seconds without end; `sample` is how it begins."""
        for block, inside in self.draw(profile, condition, seed).blocks():
            yield twelve(block), inside

    def draw(
        self, profile: PatientProfile, condition: NDArray[np.float32], seed: int, follow: Follow | None = None
    ) -> Drawn:
        """The heart and rhythm of the record of that seed. A flutter's conduction follows `follow`."""
        return self._drawn(profile, self._code(condition[None])[0], seed, follow)

    def _code(self, condition: NDArray[np.float32]) -> NDArray[np.float32]:
        """(row, column) of the weights. A diagnosis that the recorder's data tell of and a profile does not is absent.

        Nobody in the data has it unknown; between present and absent lies a heart with a bit of every disease.
        """
        code = select(condition, self.columns, self.card.columns)
        for value, known in self._diagnoses:
            unknown = code[:, known] == 0
            code[unknown, value], code[unknown, known] = -1, 1
        return code

    def _drawn(
        self, profile: PatientProfile, code: NDArray[np.float32], seed: int, follow: Follow | None = None
    ) -> Drawn:
        rng = np.random.Generator(np.random.PCG64(seed))
        rhythm = rhythm_of(profile)
        usual = rng.normal(72, 12) if rhythm == SINUS else rng.normal(88, 15)
        rate = profile.measurements.get("heart_rate", float(np.clip(usual, 45, 140)))
        heart = self.law.draw(rng, np.concatenate([code, self.recorder]))
        if rhythm != SINUS:
            heart = without_p(heart)
        ectopy, ventricular = self._ectopy(rng, profile, heart)
        if rhythm == FLUTTER:
            waves, variable = conduction(rng, rate)
            flutter = Flutter(rng, waves, lambda time: follow(time, rate) if follow else rate, variable)
            return Drawn(rng, rate, heart, flutter.beats(), ventricular, flutter.waves, rhythm)
        age = 60.0 if profile.age is None else profile.age
        beats = draw_beats(rng, rate, age, rhythm, self.rhythm, self.seconds, ectopy)
        return Drawn(rng, rate, heart, beats, ventricular, None, rhythm)

    def _ectopy(
        self, rng: np.random.Generator, profile: PatientProfile, heart: Heart
    ) -> tuple[Ectopy | None, NDArray[np.float64] | None]:
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

    def _one(self, profile: PatientProfile, code: NDArray[np.float32], seed: int) -> Record:
        own = self._drawn(profile, code, seed)
        samples = int(self.seconds * RATE)
        drawn, inside = strip(own.rng, own.heart, own.beats, samples, own.ventricular, own.atria)
        peaks = np.array([min(round(beat.at * RATE), samples - 1) for beat in inside], dtype=np.int64)
        shown = float(60 * RATE / np.median(np.diff(peaks))) if len(peaks) > 2 else 0.0
        facts = {
            "heart_rate": round(shown, 1), "rhythm": own.rhythm, **BASIS.get(own.rhythm, {}), "beats": len(peaks),
            "kinds": "".join(beat.kind for beat in inside),
            "waves": [list(mark) for mark in marks(own.heart, inside, samples)],
        }  # fmt: skip
        return Record({"ecg": twelve(drawn), "r_peaks": peaks}, facts)
