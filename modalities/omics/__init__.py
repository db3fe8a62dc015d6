"""Omics: tumour expression drawn by a conditional VAE, written as AnnData zarr."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...core.config import Settings, parse
from ...core.errors import InputError
from ...core.modality import Conditioner, Generator, Record, TrainingSet, View
from ...core.profile import PatientProfile
from ...core.vocabulary import BREAST_CANCER
from ...core.weights import Weights, find, load

if TYPE_CHECKING:
    from ...core.train import Fit

WEIGHTS = "omics"


class Config(Settings):
    """The `model` part of a training YAML."""

    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class Omics:
    """RNA expression of a breast tumour."""

    name = "omics"
    after: tuple[str, ...] = ()
    shared = True
    indication = "patients with breast cancer (C50.919 or C50.929) have tumour expression; nobody else has"

    def indicated(self, profile: PatientProfile) -> bool:
        """Only where there is a tumour."""
        return any(profile.has(code) for code in BREAST_CANCER)

    def weights(self) -> list[str]:
        """One file."""
        return [WEIGHTS]

    def generator(self, columns: Sequence[str]) -> Generator:
        """The shipped or user's weights named `omics`."""
        from .model import OmicsGenerator

        return OmicsGenerator(load(find(WEIGHTS)), columns)

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: Weights | None,
    ) -> Weights:
        """Train the VAE. Public data only."""
        from .model import train

        settings = parse(Config, dict(config), "model")
        if fit.budget is not None:
            raise InputError(
                "omics cannot be trained under a privacy budget yet; use --public for data that are public"
            )
        if init is not None:
            raise InputError("omics is trained from scratch; leave out --init")
        return train(data, conditioner, settings.network, settings.training, fit)

    def load(self, data: TrainingSet) -> list[Record]:
        """Real tumours."""
        from .data import MARKERS, read_matrix

        matrix, symbols = read_matrix(data)
        place = {m: i for i, m in enumerate(symbols) if m in MARKERS}
        return [
            Record(
                {"rna": row, "rna_var": symbols},
                {"pam50": profile.traits.get("pam50"), **{m: float(row[i]) for m, i in place.items()}},
            )
            for row, profile in zip(matrix, data.profiles, strict=True)
        ]

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """A piece of the store."""
        from .export import export

        return export(records, profiles, folder)

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """The AnnData zarr store."""
        from .export import assemble

        return assemble(pieces, folder)

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Tumours of a cohort."""
        from .export import read

        return read(folder, patient_ids)

    def views(self) -> list[View]:
        """Expression and subtype."""
        from .metrics import views

        return views()
