"""Omics: expression, microRNA, methylation, proteins of a sample, drawn by a conditional VAE, written as AnnData."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ...core import registry
from ...core.assertions import Assertion
from ...core.config import Settings, parse
from ...core.contracts import JoiningFormat
from ...core.errors import InputError
from ...core.fields import BREAST_CANCER
from ...core.modality import Conditioner, Generator, Record, TrainingSet, View
from ...core.profile import PatientProfile
from ...core.training.weights import Weights, available, find, load, read_card

if TYPE_CHECKING:
    from ...core.cohort.watermark import Mark, Tally
    from ...core.training.fit import Fit

WEIGHTS = "omics"


class Options(Settings):
    """How records are drawn and written: `generate --set omics.format=h5ad --set omics.counts=true`."""

    format: str = "zarr"  # of the installed ones: zarr, h5ad, mudata, and those of other packages
    assays: list[str] = Field(default_factory=list)  # empty: all that the weights have
    counts: bool = False  # read counts as well as the log2 expression
    index: Literal["symbol", "ensembl"] = "symbol"  # what var is indexed by


class Omics:
    """Assays of one sample a patient: those that the weights have learnt."""

    name = "omics"
    after: tuple[str, ...] = ()
    shared = True
    # piece and store of 20,000 genes with counts, or of several assays
    bytes_per_record = 320_000
    indication = "patients with breast cancer (C50.919 or C50.929) have tumour expression; nobody else has"

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = parse(Options, dict(options or {}), "omics")
        there = available().get(WEIGHTS)
        self._fields: tuple[str, ...] = BREAST_CANCER
        if there is not None:
            card = read_card(there)
            # cards of version 0.1 do not say: with PAM50 they are of breast cancer, else of anybody
            usual = BREAST_CANCER if "pam50?" in card.columns else ()
            self._fields = tuple(card.model.get("indicated", usual))
            self.indication = _indication(self._fields, list(card.model.get("assays", ())))
        if self.options.format not in (known := registry.formats_of(self.name)):
            raise InputError(
                f"omics: format: {self.options.format!r} is not installed; expected one of: {', '.join(known)}"
            )

    def indicated(self, profile: PatientProfile) -> bool:
        """Who has one of the conditions that the card names; everybody where it names none."""
        return not self._fields or any(profile.has(code) for code in self._fields)

    def weights(self) -> list[str]:
        """One file."""
        return [WEIGHTS]

    def generator(self, columns: Sequence[str]) -> Generator:
        """The shipped or user's weights named `omics`."""
        from .counts import Counted
        from .generator import OmicsGenerator

        generator = OmicsGenerator(load(find(WEIGHTS)), columns, self.options.assays)
        return Counted(generator) if self.options.counts else generator

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: Weights | None,
    ) -> Weights:
        """The VAE of public data, or the private moments of patients under fit.budget."""
        from .model import Config, train

        settings = parse(Config, dict(config), "model")
        if init is not None:
            raise InputError(f"--init {init.card.name}: omics is learnt from scratch; leave --init out")
        return train(data, conditioner, settings, fit)

    def load(self, data: TrainingSet) -> list[Record]:
        """Real samples."""
        from .data import records_of

        return records_of(data)

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """A piece of the stores."""
        return list(self._format().write(records, profiles, folder))

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """The stores, in the format of the options."""
        from .annotation import INDEX, provenance_of

        about = {**provenance_of(read_card(find(WEIGHTS))), INDEX: self.options.index}
        return list(self._format().assemble(pieces, folder, about))

    def _format(self) -> Any:
        found = registry.load_format(self.name, self.options.format)
        if not isinstance(found, JoiningFormat):
            raise InputError(
                f"omics: format: {self.options.format} cannot join all patients (it has no `assemble`)"
            )
        return found

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """Samples of a cohort."""
        from .reading import read

        return read(folder, patient_ids)

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        """What obs and the marker genes say; see core.capabilities.Asserting."""
        from .assertions import assertions

        return assertions(folder, patient_ids)

    def mark(self, record: Record, mark: "Mark", patient_id: str) -> Record:
        """With a watermark; see core.capabilities.Watermarking."""
        from . import watermark

        return watermark.mark(record, mark, patient_id)

    def marks(self, record: Record, mark: "Mark", patient_id: str) -> "Tally":
        """How far a record agrees with a watermark."""
        from . import watermark

        return watermark.marks(record, mark, patient_id)

    def views(self) -> list[View]:
        """What the weights in force have learnt: RNA, or else each assay, and its classes."""
        from .metrics import Shown, views

        card = read_card(find(WEIGHTS))
        return views(Shown.of_card(card.model, card.columns))

    def views_of(self, data: Sequence[TrainingSet]) -> list[View]:
        """What real data have; see core.capabilities.ViewsOfData."""
        from .metrics import Shown, views

        return views(Shown.of_data(data))


def _indication(fields: Sequence[str], assays: Sequence[str]) -> str:
    """Who has a sample, in one sentence."""
    if tuple(fields) == BREAST_CANCER:
        return Omics.indication
    measured = (
        f"the assays {', '.join(assays)}" if assays else "the assays that the weights in force have learnt"
    )
    if not fields:
        return f"every patient has {measured}"
    return f"patients with {' or '.join(fields)} have {measured}; nobody else has"
