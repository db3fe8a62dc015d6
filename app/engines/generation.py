"""Generation: make() draws a cohort into a folder, with an engine that writes its slices of 16 patients."""

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...conditioning.population import Population
from ...core import device as devices
from ...core.capabilities import NeedsPackages, SizedRecords
from ...core.cohort.cohort import MANIFEST, SLICE, Cohort
from ...core.cohort.watermark import Mark
from ...core.errors import InputError
from ...core.limits import require
from ...core.modality import Modality
from ...core.registry import load
from ...core.training import weights
from .job import Job, Options, choose, chosen_of, named_from, population_of, without_unseen
from .use import everything, places, recorded

LOCAL = "local"
# what the bytes of a file may depend on, besides the settings
SOFTWARE = (
    "polyclinic", "anndata", "h5py", "numpy", "pandas", "pyarrow", "pydicom", "scipy", "torch", "wfdb", "zarr",
)  # fmt: skip
EXTRAS = ("edfio",)  # likewise, where they are installed


def make(
    population: Population,
    patients: int,
    seed: int,
    out: Path,
    *,
    modalities: Sequence[str] = (),
    options: Options | None = None,
    workers: int | None = None,
    engine: str = LOCAL,
    device: str = devices.AUTO,
    address: str | None = None,
    batch_size: int = SLICE,
    resume: bool = False,
    watermark: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Cohort:
    """A cohort on disk: created, or resumed, and filled. By default all modalities but those on request.

    `options` are modalities' own settings, by modality name; they go before those of the cohort YAML.
    `watermark` is a key file: records carry its mark. `engine` is an installed one, as `polyclinic.engines` names it.
    `device` is auto, cpu, cuda or cuda:N, `address` where the engine is. `progress` gets how many patients are
    done. Raises InputError before anything is written when the settings, the device, the weights or the folder will
    not do.
    """
    require(patients=patients, workers=workers, batch_size=batch_size, seed=seed)
    if isinstance(modalities, str):
        raise InputError(f"modalities: expected a list of names, as [{modalities!r}], got {modalities!r}")
    given = options or {}
    if not isinstance(given, Mapping) or not all(isinstance(own, Mapping) for own in given.values()):
        raise InputError(f"options: expected {{modality: {{key: value}}}}, got {options!r}")
    load("engines", engine)
    there = Path(out) / MANIFEST
    begun = begun_on(Cohort.open(out)) if resume and there.exists() else None
    device = devices.choose(device, begun, engine == LOCAL)
    if address is not None and engine == LOCAL:
        raise InputError(
            f"--address {address:.300}: the engine local draws on this machine; leave it out, or say --engine ray"
        )
    modalities = tuple(modalities) or everything()
    common = {name: own for name, own in population.config.options.items() if name in modalities}
    options = {**common, **{name: {**common.get(name, {}), **own} for name, own in (options or {}).items()}}
    chosen = choose(modalities, options)
    for modality in chosen:
        if isinstance(modality, NeedsPackages):
            modality.require_packages()
    population = without_unseen(population, chosen)
    settings = header(population, chosen, patients, seed, out, options, device)
    if watermark is not None:
        settings["watermark"] = {"key": Mark.load(watermark).fingerprint}
    cohort = (Cohort.resume if resume else Cohort.create)(out, settings)
    if not cohort.complete:
        run(cohort, workers, batch_size, progress, watermark, engine, device, address, population)
    return cohort


def header(
    population: Population,
    modalities: Sequence[Modality],
    patients: int,
    seed: int,
    folder: Path,
    options: Options | None = None,
    device: str = devices.CPU,
) -> dict[str, Any]:
    """What a cohort's bytes depend on, for the manifest in its folder. Raises InputError if weights are missing.

    A learnt table is named by its path from the folder on, never by an absolute one, and by its hash; so are weights
    that the user names (`use`). The kind of device is told where it is not the CPU.
    """
    own = {name: {"options": dict(chosen)} for name, chosen in (options or {}).items() if chosen}
    used = sorted({name for m in modalities for name in m.weights()})
    labels = {"labels": list(population.labels)} if population.labels else {}
    on = {} if devices.kind_of(device) == devices.CPU else {"device": devices.kind_of(device)}
    use = {"use": placed} if (placed := places(used, folder)) else {}
    return {
        "seed": seed,
        "patients": patients,
        "population": named_from(population.config, folder).model_dump(mode="json"),
        **labels,
        "modalities": {
            m.name: {"indication": m.indication, "weights": m.weights(), **_size(m), **own.get(m.name, {})}
            for m in modalities
        },
        "weights": {name: weights.digest(weights.find(name)) for name in used},
        **use,
        **on,
        "software": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what the bytes may depend on, in the order of the names."""
    found = {name: version(name) for name in SOFTWARE}
    for name in EXTRAS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {"python": platform.python_version(), **dict(sorted(found.items()))}


def _size(modality: Modality) -> dict[str, int]:
    """bytes_per_record of a modality whose records are of another size than most."""
    return {"bytes_per_record": modality.bytes_per_record} if isinstance(modality, SizedRecords) else {}


def begun_on(cohort: Cohort) -> str:
    """The kind of device that a cohort's records are drawn on."""
    return str(cohort.manifest.get("device", devices.CPU))


def run(
    cohort: Cohort,
    workers: int | None = None,
    batch_size: int = SLICE,
    progress: Callable[[int], None] = lambda done: None,
    watermark: Path | None = None,
    engine: str = LOCAL,
    device: str = devices.AUTO,
    address: str | None = None,
    population: Population | None = None,
) -> None:
    """Write the slices that a cohort lacks and finish it.

    The files are the same whatever the engine, the workers and the batch size. By default the engine says how many
    workers there are. `population` is that of the manifest, where it is known already.
    Interrupted or killed, it leaves a cohort to resume.
    """
    if "watermark" in cohort.manifest:
        Mark.named(cohort.manifest["watermark"]["key"], watermark)
    draw, device = load("engines", engine), devices.choose(device, begun_on(cohort), engine == LOCAL)
    with cohort.writing():
        missing = cohort.missing()
        done = cohort.patients - sum(len(cohort.span(number)) for number in missing)
        progress(done)
        people = population or population_of(cohort)
        # no name for the job: what this process has loaded to draw is freed before the cohort is finished
        for number in draw(
            Job(cohort.folder, batch_size, watermark, device, address, people), missing, workers
        ):
            done += len(cohort.span(number))
            progress(done)
        with weights.using(recorded(cohort)):
            cohort.finish(chosen_of(cohort))
