"""Train the ECG model, and draw 12-lead records from its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal as dsp
from torch.utils.data import TensorDataset

from ...core.condition import columns_of, conditional_normal, select
from ...core.config import parse
from ...core.modality import Batch, Conditioner, Record, TrainingSet
from ...core.profile import PatientProfile
from ...core.train import Fit, fit
from ...core.weights import Weights, figures, restore
from .cards import card, phases
from .data import FREE, MODEL_RATE, beats, read_ecgs, twelve
from .ecg import EcgGan, EcgModel, EcgTraining, Waves, phase
from .export import RATE
from .rhythm import BREATH, FIBRILLATION, SINUS, Variability, draw_peaks

AF = "I48.91"


def train_ecg(
    data: Sequence[TrainingSet], conditioner: Conditioner, network: Mapping[str, Any],
    training: Mapping[str, Any], how: Fit,
) -> Weights:  # fmt: skip
    """Likelihood, then adversarial training on 12-lead records; the latent's law and the rhythm's are fitted last."""
    shape = parse(EcgModel, dict(network), "model.network")
    settings = parse(EcgTraining, dict(training), "model.training")
    records, profiles = [], []
    for part in data:
        for record, profile in zip(read_ecgs(part), part.profiles, strict=True):
            if 25 < record.facts["heart_rate"] < 220 and record.facts["beats"] >= 5:
                records.append(beats(record))
                profiles.append(profile.but(measurements=record.facts["baseline"]))
    columns = columns_of(conditioner.columns, ["heart_rate", *(f for part in data for f in part.fields)])
    code = select(conditioner.encode(profiles), conditioner.columns, columns)
    fibrillation = np.array([p.has(AF) for p in profiles])
    torch.manual_seed(how.seed)
    module = EcgGan(
        columns, shape, settings, records, torch.from_numpy(code), torch.from_numpy(fibrillation).float()
    )
    rows = TensorDataset(torch.arange(len(records)))
    outcomes = [
        fit(
            module, rows, replace(how, max_minutes=how.max_minutes and how.max_minutes * share),
            name=f"ecg_{name}", steps=steps, batch_size=settings.batch_size, ema=0.995,
        )
        for name, steps, share in phases(module, settings)
    ]  # fmt: skip
    hearts = module.hearts()
    line, root = conditional_normal(code, hearts)
    rhythm = Variability.fit(
        [r.peaks for r in records], MODEL_RATE,
        np.array([np.nan if p.age is None else p.age for p in profiles]), fibrillation,
    )  # fmt: skip
    tensors = {f"waves.{k}": v.half() for k, v in module.waves.state_dict().items()}
    tensors |= {"heart.line": torch.from_numpy(line).float(), "heart.root": torch.from_numpy(root).float()}
    own = card(
        "phase-conditioned VAE-GAN", "ecg", data, sum(o.steps for o in outcomes), sum(o.seconds for o in outcomes),
        columns, {"network": shape.model_dump(), "rhythm": asdict(rhythm)},
        figures(anchor_loss=outcomes[-1].loss),
    )  # fmt: skip
    return Weights(tensors, own)


class EcgSampler:
    """10 s ECGs from trained weights, one row at a time, so that rows cannot touch each other."""

    def __init__(self, weights: Weights, columns: Sequence[str]) -> None:
        self.card, self.columns = weights.card, columns
        self.shape = EcgModel(**weights.card.model["network"])
        self.rhythm = Variability(**weights.card.model["rhythm"])
        self.waves = Waves(len(weights.card.columns), self.shape)
        restore(self.waves, weights, "waves.")
        self.line, self.root = (
            weights.tensors["heart.line"].double().numpy(),
            weights.tensors["heart.root"].double().numpy(),
        )

    def sample(self, batch: Batch) -> list[Record]:
        """One record a row; see SignalsGenerator."""
        code = select(batch.condition, self.columns, self.card.columns)
        return [self._one(p, c, s) for p, c, s in zip(batch.profiles, code, batch.seeds, strict=True)]

    @torch.inference_mode()
    def _one(self, profile: PatientProfile, code: NDArray[np.float32], seed: int) -> Record:
        rng = np.random.Generator(np.random.PCG64(seed))
        rhythm = FIBRILLATION if profile.has(AF) else SINUS
        usual = rng.normal(88, 15) if rhythm == FIBRILLATION else rng.normal(72, 12)
        rate = profile.measurements.get("heart_rate", float(np.clip(usual, 45, 140)))
        age = 60.0 if profile.age is None else profile.age
        peaks = draw_peaks(rng, rate, age, rhythm, self.rhythm, self.shape.seconds, MODEL_RATE)
        latent = self.line @ np.append(code, 1.0) + self.root @ rng.standard_normal(self.shape.latent)
        length = int(self.shape.seconds * MODEL_RATE)
        where = phase(
            [peaks], torch.tensor([float(rhythm == FIBRILLATION)]), torch.zeros(1, dtype=torch.long), length
        )
        heart = torch.from_numpy(np.concatenate([latent, code]).astype(np.float32))[None]
        noise = torch.from_numpy(rng.standard_normal((1, self.shape.noise, length), dtype=np.float32))
        drawn = calm(*(x[0].double().numpy() for x in self.waves(where, heart, noise)))
        breath = 1 + rng.uniform(0.01, 0.04) * np.sin(
            2 * np.pi * (rng.uniform(*BREATH) * np.arange(length) / MODEL_RATE + rng.uniform())
        )  # the heart's axis swings with breathing
        drawn = drawn * breath
        full = dsp.resample_poly(drawn, RATE // MODEL_RATE, 1, axis=1)
        ecg = twelve(full + wander(rng, full.shape[1]))
        inside = peaks[(peaks >= 0) & (peaks < length)]
        shown = float(60 * MODEL_RATE / np.median(np.diff(inside))) if len(inside) > 2 else rate
        facts = {"heart_rate": round(shown, 1), "rhythm": rhythm, "beats": len(inside)}
        return Record({"ecg": ecg, "r_peaks": inside * (RATE // MODEL_RATE)}, facts)


def calm(
    template: NDArray[np.float64], spread: NDArray[np.float64], drawn: NDArray[np.float64], most: float = 1.5
) -> NDArray[np.float64]:
    """(lead, sample) drawn signal with its residue held to `most` times the lead's median spread.

    Around the QRS the network's spread is mostly doubt about where exactly the peak was marked in the
    training records, not something a heart does from beat to beat.
    """
    limit = most * np.median(spread, axis=1, keepdims=True)
    return template + (drawn - template) * np.minimum(1.0, limit / spread)


def wander(rng: np.random.Generator, samples: int) -> NDArray[np.float64]:
    """(8, sample) mV of slow baseline movement below 0.5 Hz: breathing and electrode drift, small in most records."""
    time = np.arange(samples) / RATE
    size = 0.02 * np.exp(0.6 * rng.standard_normal()) * np.exp(0.4 * rng.standard_normal(len(FREE)))
    waves = np.zeros((len(FREE), samples))
    for frequency in (rng.uniform(0.05, 0.15), rng.uniform(0.15, 0.4)):
        turn = rng.uniform(0, 2 * np.pi, size=(len(FREE), 1)) * 0.3 + rng.uniform(0, 2 * np.pi)
        waves += np.sin(2 * np.pi * frequency * time + turn)
    return size[:, None] * waves
