"""Job: what an engine is given, slices of a cohort to draw; the rest is read from the cohort's manifest."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...conditioning.design.cohort_config import CohortConfig
from ...conditioning.encoder import ProfileEncoder
from ...conditioning.population import Population
from ...core.cohort.cohort import RESUME, Cohort
from ...core.cohort.watermark import Mark
from ...core.condition import field_of
from ...core.config import parse
from ...core.device import CPU, steady, using
from ...core.errors import InputError
from ...core.instance_name import base_of
from ...core.modality import Modality, in_order
from ...core.pipeline import generate, load_generators, watermarked
from ...core.registry import load_modality
from ...core.training import weights
from .use import everything, recorded

VIEW = "chest_view"
Options = Mapping[str, Mapping[str, Any]]  # modality name -> its settings


@dataclass(frozen=True)
class Job:
    """A cohort's folder, how many patients are drawn together, the key file of its watermark, the device, where the
    engine is, and the manifest's population where it is known, so that its design is solved once a run.

    It is small and can be pickled. A process that writes slices loads the generators once, at the first.
    """

    folder: Path
    batch_size: int
    watermark: Path | None = None
    device: str = CPU
    address: str | None = None
    population: Population | None = None

    def write(self, number: int) -> int:
        """Draw and write a slice (idempotent); its number."""
        with steady(self.device):
            return self._slices.write(number)

    @cached_property
    def _slices(self) -> "_Slices":
        return _Slices(self)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}


class _Slices:
    """What one process needs to draw slices of a cohort, loaded once."""

    def __init__(self, job: Job) -> None:
        self.cohort, self.batch_size = Cohort.open(job.folder), job.batch_size
        self.files = recorded(self.cohort)
        if lost := [name for name in self.cohort.manifest.get("use", {}) if name not in self.files]:
            raise InputError(
                f"{job.folder}: the weights {lost[0]} are gone or changed; {RESUME} --use {lost[0]}=FILE"
            )
        with weights.using(self.files), using(job.device):
            self._load(job)

    def _load(self, job: Job) -> None:
        self.population = job.population or population_of(self.cohort)
        self.modalities = chosen_of(self.cohort)
        used = [name for modality in self.modalities for name in modality.weights()]
        self.encoder = ProfileEncoder.of(self.population.vocabulary, used)
        self.generators = load_generators(self.modalities, self.encoder)
        if job.watermark is not None:
            by_name = {modality.name: modality for modality in self.modalities}
            self.generators = watermarked(self.generators, by_name, Mark.load(job.watermark))

    def write(self, number: int) -> int:
        seed = int(self.cohort.manifest["seed"])
        profiles = (self.population.patient(index, seed) for index in self.cohort.span(number))
        resampled = self.cohort.resampled
        drawn = generate(
            profiles, self.modalities, self.encoder, seed, self.batch_size, self.generators, resampled
        )
        with weights.using(self.files):
            self.cohort.write_slice(number, list(drawn), self.modalities)
        return number


def choose(names: Sequence[str] = (), options: Options | None = None) -> list[Modality]:
    """Modalities by name (all installed ones that work if none is named), each after those whose facts it reads.

    Raises InputError, also for options of a modality that is not among them.
    """
    wanted, options = sorted(set(names) or everything()), options or {}
    for name in options:
        if name not in wanted:
            raise InputError(
                f"an option of {name!r}, which is not drawn here; the modalities are: {', '.join(wanted)}"
            )
    return in_order([load_modality(name, options.get(name)) for name in wanted])


def chosen_of(cohort: Cohort) -> list[Modality]:
    """The modalities that a cohort was drawn with, each with its options."""
    noted = cohort.manifest["modalities"]
    return choose(list(noted), {name: own["options"] for name, own in noted.items() if "options" in own})


def without_unseen(population: Population, modalities: Sequence[Modality]) -> Population:
    """The population without the view of a chest X-ray where images are drawn by weights that know of none."""
    used = [
        name
        for modality in modalities
        if base_of(modality.name) == "imaging"
        for name in modality.weights()[:1]
    ]
    known = {field_of(c) for name in used for c in weights.read_card(weights.find(name)).columns}
    if not used or VIEW in known or population.config.chest_ap is None:
        return population
    try:
        return Population(population.config.model_copy(update={"chest_ap": None}), population.where)
    except InputError as error:  # the design asks for the view
        raise InputError(f"{error}; the weights {', '.join(used)} were taught no view") from None


def named_from(config: CohortConfig, folder: Path) -> CohortConfig:
    """The config with its learnt table's file named from a folder on."""
    if config.table is None:
        return config
    file = Path(os.path.relpath(Path(config.table.file).resolve(), folder.resolve())).as_posix()
    return config.model_copy(update={"table": config.table.model_copy(update={"file": file})})


def population_of(cohort: Cohort) -> Population:
    """Who a cohort's patients are, from its manifest."""
    config = parse(CohortConfig, cohort.manifest["population"], f"{cohort.folder}: manifest: population")
    if config.table is not None:  # named from the folder on
        file = str((cohort.folder / config.table.file).resolve())
        config = config.model_copy(update={"table": config.table.model_copy(update={"file": file})})
    return Population(config, str(cohort.folder))
