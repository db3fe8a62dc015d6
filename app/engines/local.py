"""The engine: draw a cohort in this process or over several; a task is a slice of 16 patients, idempotent.

The cohort's manifest is the job: a worker is told a folder and slice numbers, and reads all else there.
"""

import multiprocessing
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...conditioning.design.cohort_config import CohortConfig
from ...conditioning.encoder import ProfileEncoder
from ...conditioning.population import Population
from ...core.capabilities import SizedRecords
from ...core.cohort.cohort import SLICE, Cohort
from ...core.cohort.watermark import Mark
from ...core.config import parse
from ...core.errors import InputError
from ...core.modality import Modality, in_order
from ...core.pipeline import generate, load_generators, watermarked
from ...core.registry import load_modality, sound
from ...core.training import weights

Options = Mapping[str, Mapping[str, Any]]  # modality name -> its settings

# what the bytes of a file may depend on, besides the settings
SOFTWARE = (
    "polyclinic",
    "anndata",
    "edfio",
    "h5py",
    "numpy",
    "pandas",
    "pyarrow",
    "pydicom",
    "scipy",
    "torch",
    "wfdb",
    "zarr",
)


def make(
    population: Population,
    patients: int,
    seed: int,
    out: Path,
    *,
    modalities: Sequence[str] = (),
    options: Options | None = None,
    workers: int | None = None,
    batch_size: int = SLICE,
    resume: bool = False,
    watermark: Path | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Cohort:
    """A cohort on disk: created, or resumed, and filled. All modalities that are installed by default.

    `options` are modalities' own settings, by modality name; they go before those of the cohort YAML.
    `watermark` is a key file: records carry its mark. `progress` is told how many patients are done. Raises
    InputError before anything is written when the settings, the weights or the folder will not do.
    """
    for name, value in (("patients", patients), ("workers", workers), ("batch-size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"--{name} must be 1 or more, got {value}")
    modalities = tuple(modalities) or tuple(sound("modalities"))
    common = {name: own for name, own in population.config.options.items() if name in modalities}
    options = {**common, **{name: {**common.get(name, {}), **own} for name, own in (options or {}).items()}}
    chosen = choose(modalities, options)
    settings = header(population, chosen, patients, seed, options)
    if watermark is not None:
        settings["watermark"] = {"key": Mark.load(watermark).fingerprint}
    cohort = (Cohort.resume if resume else Cohort.create)(out, settings)
    if not cohort.complete:
        run(cohort, workers, batch_size, progress, watermark)
    return cohort


def choose(names: Sequence[str] = (), options: Options | None = None) -> list[Modality]:
    """Modalities by name (all installed ones that work if none is named), each after those whose facts it reads.

    Raises InputError, also for options of a modality that is not among them.
    """
    wanted, options = sorted(set(names) or sound("modalities")), options or {}
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


def header(
    population: Population,
    modalities: Sequence[Modality],
    patients: int,
    seed: int,
    options: Options | None = None,
) -> dict[str, Any]:
    """What a cohort's bytes depend on, for its manifest. Raises InputError if weights are missing."""
    own = {name: {"options": dict(chosen)} for name, chosen in (options or {}).items() if chosen}
    used = sorted({name for m in modalities for name in m.weights()})
    labels = {"labels": list(population.labels)} if population.labels else {}
    return {
        "seed": seed,
        "patients": patients,
        "population": population.config.model_dump(mode="json"),
        **labels,
        "modalities": {
            m.name: {"indication": m.indication, "weights": m.weights(), **_size(m), **own.get(m.name, {})}
            for m in modalities
        },
        "weights": {name: weights.digest(weights.find(name)) for name in used},
        "software": {"python": platform.python_version(), **{name: version(name) for name in SOFTWARE}},
    }


def _size(modality: Modality) -> dict[str, int]:
    """bytes_per_record of a modality whose records are of another size than most."""
    return {"bytes_per_record": modality.bytes_per_record} if isinstance(modality, SizedRecords) else {}


def run(
    cohort: Cohort,
    workers: int | None = None,
    batch_size: int = SLICE,
    progress: Callable[[int], None] = lambda done: None,
    watermark: Path | None = None,
) -> None:
    """Write the slices that a cohort lacks and finish it.

    With one worker in this process, else in that many spawned ones (by default one a core). The files are
    the same whatever the workers and the batch size. Interrupted or killed, it leaves a cohort to resume.
    """
    if "watermark" in cohort.manifest:
        Mark.named(cohort.manifest["watermark"]["key"], watermark)
    with cohort.writing():
        missing = cohort.missing()
        workers = min(workers or _cores(), max(1, len(missing)))
        done = cohort.patients - sum(len(cohort.span(number)) for number in missing)
        progress(done)
        draw = _in_process if workers == 1 else _in_pool
        for number in draw((cohort.folder, batch_size, watermark), missing, workers):
            done += len(cohort.span(number))
            progress(done)
        cohort.finish(chosen_of(cohort))


def population_of(cohort: Cohort) -> Population:
    """Who a cohort's patients are, from its manifest."""
    config = parse(CohortConfig, cohort.manifest["population"], f"{cohort.folder}: manifest: population")
    return Population(config, str(cohort.folder))


class _Studio:
    """What one process needs to draw slices of a cohort, loaded once."""

    def __init__(self, folder: Path, batch_size: int, watermark: Path | None) -> None:
        self.cohort, self.batch_size = Cohort.open(folder), batch_size
        self.population = population_of(self.cohort)
        self.modalities = chosen_of(self.cohort)
        used = [name for modality in self.modalities for name in modality.weights()]
        self.encoder = ProfileEncoder.of(self.population.vocabulary, used)
        self.generators = load_generators(self.modalities, self.encoder)
        if watermark is not None:
            by_name = {modality.name: modality for modality in self.modalities}
            self.generators = watermarked(self.generators, by_name, Mark.load(watermark))

    def write(self, number: int) -> int:
        seed = int(self.cohort.manifest["seed"])
        profiles = (self.population.patient(index, seed) for index in self.cohort.span(number))
        anew = self.cohort.manifest.get("draw", {}).get("anew", {})
        drawn = generate(
            profiles, self.modalities, self.encoder, seed, self.batch_size, self.generators, anew
        )
        self.cohort.write_slice(number, list(drawn), self.modalities)
        return number


@contextmanager
def _one_thread() -> Iterator[None]:
    """Numbers that do not depend on how sums are split among threads."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


Job = tuple[Path, int, Path | None]  # cohort, batch size, key of the watermark


def _in_process(job: Job, numbers: Sequence[int], workers: int) -> Iterator[int]:
    if numbers:
        studio = _Studio(*job)
        for number in numbers:
            with _one_thread():
                studio.write(number)
            yield number


def _in_pool(job: Job, numbers: Sequence[int], workers: int) -> Iterator[int]:
    """Slice numbers as they are done; at most two tasks a worker are under way."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, job)
    waiting, running = iter(numbers), set[Future[int]]()
    try:
        while True:
            while len(running) < 2 * workers and (number := next(waiting, None)) is not None:
                running.add(pool.submit(_write, number))
            if not running:
                break
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for task in ready:
                yield task.result()
    except BrokenProcessPool:
        raise InputError(
            f"{job[0]}: a worker process was killed, perhaps for want of memory; what is done is kept: "
            "run again with --resume and fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_job: Job | None = None


def _start_worker(*job: *Job) -> None:
    """Leave interrupts to the parent, end when it ends, and note the job."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _job = job


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@cache
def _studio() -> _Studio:
    assert _job is not None
    return _Studio(*_job)


def _write(number: int) -> int:
    studio = _studio()
    with _one_thread():
        return studio.write(number)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
