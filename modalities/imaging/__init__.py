"""Imaging: frontal chest X-rays drawn by private diffusion, written as DICOM."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.modality import Batch, Conditioner, Generator, Record, TrainingSet, View
from ...core.profile import PatientProfile, uid_for
from ...core.weights import Card, DataUsed, Weights, figures, find, load, restore

if TYPE_CHECKING:
    from ...core.train import Fit

WEIGHTS = "imaging"
FINDINGS = (
    "I51.7", "J18.9", "J43.9", "J81.0", "J84.10", "J90", "J93.9", "J98.11", "R91.1", "R91.8",
)  # fmt: skip
CHEST_MM = 360.0  # side of the field of view that a frontal chest X-ray covers
STEPS, GUIDANCE = 12, 1.0


class Config(Settings):
    """The `model` part of a training YAML."""

    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class ImageGenerator:
    """Draws X-rays from trained weights."""

    def __init__(self, weights: Weights, columns: Sequence[str]) -> None:
        from .model import Denoiser, ImageModel

        self.card, self.columns = weights.card, columns
        self.shape = ImageModel(**weights.card.model)
        self.net = Denoiser(len(weights.card.columns), self.shape)
        restore(self.net, weights)

    def sample(self, batch: Batch) -> list[Record]:
        """One X-ray a row; see the README of records for its facts."""
        from ...core.condition import select
        from .data import FULL_SCALE
        from .model import draw

        code = select(batch.condition, self.columns, self.card.columns)
        images = draw(self.net, code, batch.seeds, self.shape, STEPS, GUIDANCE)
        levels = np.rint((images[:, 0].astype(np.float64) + 1) / 2 * FULL_SCALE).astype(np.uint16)
        return [
            Record({"image": levels[i]}, self._facts(profile, seed))
            for i, (profile, seed) in enumerate(zip(batch.profiles, batch.seeds, strict=True))
        ]

    def _facts(self, profile: PatientProfile, seed: int) -> dict[str, Any]:
        return {
            "findings": [code for code in FINDINGS if profile.has(code)],
            "view": profile.traits.get("chest_view"),
            "body_part": "CHEST",
            "study_uid": uid_for(seed, "study"),
            "series_uid": uid_for(seed, "series"),
            "instance_uid": uid_for(seed, "instance"),
            "pixel_spacing_mm": round(CHEST_MM / self.shape.size, 4),
            "derivation": f"Synthetic image drawn by a diffusion model at {self.shape.size} x {self.shape.size}"
            f" pixels (weights {self.card.name}, {self.card.privacy})",
        }


class Imaging:
    """Frontal chest X-rays."""

    name = "imaging"
    after: tuple[str, ...] = ()
    shared = False
    indication = "every patient has a frontal chest X-ray"

    def indicated(self, profile: PatientProfile) -> bool:
        """Everyone."""
        return True

    def weights(self) -> list[str]:
        """One file."""
        return [WEIGHTS]

    def generator(self, columns: Sequence[str]) -> Generator:
        """The shipped or user's weights named `imaging`."""
        return ImageGenerator(load(find(WEIGHTS)), columns)

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: Weights | None,
    ) -> Weights:
        """Public training, or patient-level DP-SGD when fit has a budget; from init's weights if given."""
        import torch
        from torch.utils.data import Dataset, Subset, TensorDataset

        from ...core import privacy
        from ...core.condition import columns_of, select
        from ...core.train import fit as run
        from .data import read_images, to_unit
        from .model import ImageDiffusion, ImageModel, ImageTraining, scaled

        settings = parse(Config, dict(config), "model")
        shape = parse(ImageModel, settings.network, "model.network")
        training = parse(ImageTraining, settings.training, "model.training")
        wanted = columns_of(conditioner.columns, [name for part in data for name in part.fields])
        if init is not None:
            wanted = [c for c in conditioner.columns if c in {*wanted, *init.card.columns}]
            if ImageModel(**init.card.model) != shape:
                raise InputError(
                    f"--init {init.card.name}: its network is {init.card.model}, expected {shape!r}"
                )
        read = [read_images(part, shape.size) for part in data]
        images = torch.from_numpy(np.concatenate([to_unit(pixels) for pixels, _ in read]))[:, None]
        profiles = [profile for _, own in read for profile in own]
        often = [int(part.options.get("repeat", 1)) for part in data]  # a small set may be shown more often
        code = select(conditioner.encode(profiles), conditioner.columns, wanted)
        torch.manual_seed(fit.seed)
        module = ImageDiffusion(wanted, shape, training)
        if init is not None:
            start(module.net, init, wanted)
        elif fit.budget is None:
            module.net.fit_source(scaled(images))
        patients = [profile.patient_id for profile in profiles]
        examples: Dataset[Any] = TensorDataset(images, torch.from_numpy(code))
        if max(often) > 1 and fit.budget is None:
            shown = np.repeat(often, [len(own) for _, own in read])
            examples = Subset(examples, np.repeat(np.arange(len(shown)), shown).tolist())
        plan = None
        spent: dict[str, Any] = {"privacy": "public"}
        if fit.budget is not None:
            plan = privacy.PrivacyPlan.for_budget(
                fit.budget,
                len(set(patients)),
                training.patients_per_step,
                training.steps,
                training.max_grad_norm,
            )
            spent = privacy.pay(fit, plan, "+".join(part.source.name for part in data), "imaging DP-SGD")
        outcome = run(
            module,
            examples,
            fit,
            name="imaging",
            steps=training.steps,
            batch_size=training.batch_size,
            plan=plan,
            patients=patients,
            ema=training.ema,
        )
        used = [
            DataUsed(
                **vars(part.source),
                rows=len(own),
                patients=len({p.patient_id for p in own}) if part.records else None,
                privacy=spent["privacy"],
            )
            for part, (_, own) in zip(data, read, strict=True)
        ]
        before = [] if init is None else [d for d in init.card.data if d not in used]
        card = Card(
            name=WEIGHTS, modality=self.name, kind="flow-matching U-Net", data=used + before,
            steps=outcome.steps, seconds=round(outcome.seconds), columns=wanted, model=shape.model_dump(),
            figures=figures(training_loss=outcome.loss), **spent,
        )  # fmt: skip
        return Weights({name: tensor.half() for name, tensor in module.net.state_dict().items()}, card)

    def load(self, data: TrainingSet) -> list[Record]:
        """Real X-rays at the working size."""
        from .data import read_images

        pixels, profiles = read_images(data, int(data.options.get("size", 64)))
        return [
            Record({"image": image}, {"findings": [c for c in FINDINGS if profile.has(c)]})
            for image, profile in zip(pixels, profiles, strict=True)
        ]

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """DICOM DX files."""
        from .export import export

        return export(records, profiles, folder)

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """Nothing is shared."""
        return []

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """X-rays of a cohort."""
        from .export import read

        return read(folder, patient_ids)

    def views(self) -> list[View]:
        """Pixels' summary, views and findings."""
        from .metrics import views

        return views()


def start(net: Any, init: Weights, columns: Sequence[str]) -> None:
    """Load init's tensors; the condition's first layer is matched by column name, new columns start at 0."""
    state = {name: tensor.float() for name, tensor in init.tensors.items()}
    first = "condition.0.weight"
    have = {column: i for i, column in enumerate(init.card.columns)}
    wide = state[first].new_zeros(state[first].shape[0], len(columns))
    for j, column in enumerate(columns):
        if column in have:
            wide[:, j] = state[first][:, have[column]]
    net.load_state_dict({**state, first: wide})
