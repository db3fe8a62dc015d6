"""Imaging: images of one kind (chest X-rays with the weights that ship), drawn by their weights, written as DICOM."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from ...core import registry
from ...core.assertions import Assertion
from ...core.config import parse
from ...core.extras import need
from ...core.identity import changed
from ...core.modality import Conditioner, Generator, Record, TrainingSet, View
from ...core.profile import PatientProfile
from ...core.training.weights import Weights, available, find, load, read_card
from .export import MASKS, ExportOptions, check, export, read
from .formats import coco, media
from .mask_labels import facts_of, labels_of, mask_labels_of
from .mask_metrics import mask_views
from .subject import CHEST_XRAY, Subject

if TYPE_CHECKING:
    from ...core.cohort.watermark import Mark, Tally
    from ...core.training.fit import Fit

WEIGHTS = "imaging"
NATIVE = "dicom"  # always written: cohorts are read from it


class ImagingOptions(ExportOptions):
    """How images are drawn and written; without upsampling they keep the flow's size.

    `formats` are some of the installed ones. `dicom` is always among them, since a cohort is read from it. `dicomdir`
    adds a file-set with a catalogue for each patient. Without `masks` weights that draw them draw images alone.
    """

    upsample: bool = True
    masks: bool = True
    dicomdir: bool = False
    formats: tuple[str, ...] = (NATIVE,)

    @field_validator("formats")
    @classmethod
    def _installed(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        known = registry.formats_of("imaging")
        if unknown := [name for name in formats if name not in known]:
            raise ValueError(f"expected some of {', '.join(known)}, got {unknown[0]!r}")
        return formats if NATIVE in formats else (NATIVE, *formats)


class Imaging:
    """Images of what the card of the weights in force says: frontal chest X-rays with those that ship."""

    name = "imaging"
    after: tuple[str, ...] = ()
    shared = False
    indication = "every patient has a frontal chest X-ray"

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = parse(ImagingOptions, dict(options or {}), "imaging options")
        if (there := available().get(WEIGHTS)) is not None:
            title = Subject.of_card(read_card(there), self.options.iod).title
            if title != CHEST_XRAY:
                self.indication = f"every patient has an image ({title})"

    def indicated(self, profile: PatientProfile) -> bool:
        """Everyone."""
        return True

    def weights(self) -> list[str]:
        """The flow, and the upsampler that its card names, if that is wanted."""
        finer = read_card(find(WEIGHTS)).model.get("shows", {}).get("upsampler")
        return [WEIGHTS, finer] if finer and self.options.upsample else [WEIGHTS]

    def weight_kinds(self) -> Mapping[str, tuple[str, ...]]:
        """Flows and cosine models draw; see core.capabilities.WeightKinds."""
        return {
            WEIGHTS: ("flow-matching U-Net", "cosine model"),
            "imaging_upsampler": ("adversarial upsampler",),
            "imaging_fine_upsampler": ("adversarial upsampler",),
            "imaging_skin_upsampler": ("adversarial upsampler",),
        }

    def require_packages(self) -> None:
        """Compressions and masks need encoders; see core.capabilities.NeedsPackages."""
        check(self.options.compression, ())
        if self.options.masks and mask_labels_of(read_card(find(WEIGHTS))):
            need(MASKS, "highdicom")

    def generator(self, columns: Sequence[str]) -> Generator:
        """The shipped or user's weights of these names."""
        from .generator import ImageGenerator

        files = {"compression": self.options.compression}
        flow, *finer = (load(find(name)) for name in self.weights())
        upsampler = finer[0] if finer else None
        return ImageGenerator(flow, columns, upsampler, self.options.iod, files, self.options.masks)

    def train(
        self,
        data: Sequence[TrainingSet],
        conditioner: Conditioner,
        config: Mapping[str, Any],
        fit: "Fit",
        init: Weights | None,
    ) -> Weights:
        """The flow (publicly, or under fit's budget), the upsampler or the feature net, as config says."""
        from .training import train

        return train(data, conditioner, config, fit, init)

    def load(self, data: TrainingSet) -> list[Record]:
        """Real images at the working size: 12-bit grey, or 8-bit RGB where the set is in colour."""
        return [record for _, record in self.windows(data)]

    def windows(self, data: TrainingSet) -> Iterator[tuple[PatientProfile, Record]]:
        """Each image with its patient: a file may have several slices or be left out; see Windowed."""
        from .data import channels_of, options_of, read_records, to_unit

        labels = facts_of(tuple(data.mask_labels.values()))
        for profile, image, mask in read_records(data, options_of(data).size, channels_of([data])):
            arrays = {"image": image[0] if len(image) == 1 else to_unit(image).transpose(1, 2, 0)}
            if mask is None:
                yield profile, Record(arrays)
            else:
                yield profile, Record({**arrays, "mask": mask}, {"mask_labels": labels})

    def export(
        self, records: Sequence[Record], profiles: Sequence[PatientProfile], folder: Path
    ) -> list[Path]:
        """DICOM files, and the other formats asked for."""
        if self.options.dicomdir:
            for profile in profiles:
                media.check(profile)
        written = export(records, profiles, folder, self.options)
        written += coco.write(records, profiles, folder)
        if self.options.dicomdir:
            for profile in profiles:
                own = [path for path in written if path.is_relative_to(folder / "dicom" / profile.patient_id)]
                written += media.write(own, profile, folder)
        for name in self.options.formats:
            if name != "dicom":
                written += registry.load_format(self.name, name).write(records, profiles, folder)
        return written

    def assemble(self, pieces: Sequence[Path], folder: Path) -> list[Path]:
        """The boxes of all masks; images are files of their own."""
        return coco.join(pieces, folder)

    @property
    def joined(self) -> tuple[str, ...]:
        """The boxes; see core.capabilities.Joining."""
        return (coco.NAME,)

    def read(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, Record]:
        """X-rays of a cohort."""
        return read(folder, patient_ids)

    def assertions(self, folder: Path, patient_ids: Sequence[str]) -> dict[str, list[Assertion]]:
        """What the DICOM tags say; see core.capabilities.Asserting."""
        from .assertions import assertions

        return assertions(folder, patient_ids)

    def mark(self, record: Record, mark: "Mark", patient_id: str) -> Record:
        """With a watermark in the parity of the grey (or colour) levels; none moves by more than one."""
        image = mark.put(record.arrays["image"], patient_id, "image")
        return changed(Record({**record.arrays, "image": image}, record.facts))

    def marks(self, record: Record, mark: "Mark", patient_id: str) -> "Tally":
        """How far a record agrees with a watermark."""
        return mark.read(record.arrays["image"], patient_id, "image")

    def identifiers(self, folder: Path, patient_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Names and burned-in text; see core.capabilities.Searchable."""
        from .assertions import identifiers

        return identifiers(folder, patient_ids)

    def views(self) -> list[View]:
        """Pixels' summary; views and findings where the weights in force draw chests."""
        from .metrics import views

        card = read_card(find(WEIGHTS))
        return views(Subject.of_card(card, self.options.iod)) + mask_views(mask_labels_of(card))

    def views_of(self, data: Sequence[TrainingSet]) -> list[View]:
        """The same of what a folder says of its images; see core.capabilities.ViewsOfData."""
        from .metrics import views

        return views(Subject.of_data(data)) + mask_views(labels_of(data))
