"""The public API: what a notebook or a script calls, and what the command line calls; `import polyclinic as pc`.

Results are frozen dataclasses. Errors that a user can mend are InputError, a "no" of a gate or a budget is Refused.
Nothing heavy is imported before it is needed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError, Refused, listed
from ..core.limits import require
from .calling import public_function
from .results import Evaluation as Evaluation
from .results import Trained as Trained

if TYPE_CHECKING:
    from ..core.modality import Conditioner, Modality
    from ..core.pipeline import Patient
    from ..core.profile import PatientProfile
    from .cohort import Cohort
    from .engines.use import Use
    from .governance.release import Outcome
    from .references import Given
    from .stream.run import Tally

Options = Mapping[str, Mapping[str, Any]]  # modality -> its settings
Place = str | Path


def _silent(*_: object) -> None:
    """No progress is shown."""


@public_function
def generate_cohort(
    population: str,
    patients: int | None = None,
    *,
    out: Place,
    seed: int = 0,
    fields: str | None = None,
    modalities: Sequence[str] = (),
    options: Options | None = None,
    workers: int | None = None,
    batch_size: int = 16,
    resume: bool = False,
    watermark: Place | None = None,
    engine: str = "local",
    address: str | None = None,
    device: str = "auto",
    use: "Use | None" = None,
    progress: Callable[[int, int], None] = _silent,
) -> "Cohort":
    """Draw linked synthetic patients into a new folder `out`, and open it.

    `population` is the name of a shipped cohort (icu, cardio_oncology, ...) or a YAML file. `fields` asks for so
    many patients of each class (`melanoma: 300 yes, 300 no`) in place of `patients`. `options` are settings of
    modalities, {modality: {key: value}}. `watermark` is a key file. `workers` processes draw, one a core by
    default, and `engine` runs them, at `address` if it runs elsewhere; the files depend on
    neither. `device` is cpu, cuda or cuda:N; auto is a GPU where there is one, and files of a GPU differ in their last
    digits. `use` names weight files that take the
    place of those in force, {"imaging": "skin.safetensors"}, or draw a second set of records beside them,
    {"imaging:skin": "skin.safetensors"}. `progress(done, all)` counts patients. Raises InputError before anything is
    written.

    >>> generate_cohort("icu", 2, out=folder / "two", seed=7, modalities=["signals"], workers=1)
    Cohort(folder=...)
    """
    from ..conditioning.population import Population
    from .cohort import Cohort
    from .engines.generation import make
    from .engines.use import using

    require(patients=patients, seed=seed, workers=workers, batch_size=batch_size)
    with using(use or {}, modalities):
        drawn = Population.load(population, fields)
        number = drawn.number(patients)
        make(
            drawn, number, seed, Path(out), modalities=modalities, options=options, workers=workers,
            batch_size=batch_size, resume=resume, watermark=None if watermark is None else Path(watermark),
            engine=engine, address=address, device=device, progress=lambda done: progress(done, number),
        )  # fmt: skip
    return Cohort(Path(out))


@public_function
def generate(
    profiles: "str | Iterable[PatientProfile]",
    modalities: "Sequence[str | Modality]" = (),
    conditioner: "Conditioner | None" = None,
    seed: int = 0,
    batch_size: int = 16,
    *,
    patients: int | None = None,
    device: str = "auto",
    use: "Use | None" = None,
) -> "Iterator[Patient]":
    """Draw patients in memory, one after the other, with their records by modality.

    `profiles` are the patients, or the name of a shipped cohort (or a YAML file) of which `patients` are drawn.
    `modalities` are names or modalities made with options, by default all but those on request. A record has `arrays`
    (image: (row, column) uint16; ecg: (lead, sample) mV; vitals: (hour, channel)) and `facts` in plain JSON types.
    It depends on the profile, the seed and the weights, never on `batch_size` or on the other patients. `use` names
    weight files and `device` where networks draw, as in generate_cohort(). Raises InputError.

    >>> patient = next(generate("icu", ["signals"], patients=1, seed=7))
    >>> patient.records["signals"].arrays["ecg"].shape
    (12, 5000)
    """
    from ..conditioning.encoder import ProfileEncoder
    from ..conditioning.population import Population
    from ..core.device import choose
    from ..core.device import using as on
    from ..core.pipeline import generate as draw
    from ..core.pipeline import load_generators
    from ..core.registry import load_modality, vocabulary
    from .engines.job import without_unseen
    from .engines.use import everything, using

    require(patients=patients, seed=seed, batch_size=batch_size)
    names = [m if isinstance(m, str) else m.name for m in modalities]
    with using(use or {}, names), on(choose(device)):
        chosen = [load_modality(m) if isinstance(m, str) else m for m in modalities or everything()]
        known = vocabulary()
        if isinstance(profiles, str):
            population = without_unseen(Population.load(profiles), chosen)
            known, profiles = population.vocabulary, population.draw(population.number(patients), seed)
        elif patients is not None:
            raise InputError("generate: `patients` belongs to the name of a cohort; leave it out")
        encoder = conditioner or ProfileEncoder.of(known, [w for m in chosen for w in m.weights()])
        generators = load_generators(chosen, encoder)
    return draw(profiles, chosen, encoder, seed, batch_size, generators)


@public_function
def open_cohort(folder: Place) -> "Cohort":
    """A finished cohort on disk as tables and arrays. Raises InputError.

    >>> open_cohort(folder).patients.index.name
    'patient_id'
    """
    from .cohort import Cohort

    return Cohort(Path(folder))


@public_function
def train(
    modality: str,
    data: Place,
    out: Place | None = None,
    *,
    public: bool = False,
    epsilon: float | None = None,
    delta: float | None = None,
    limit: float | None = None,
    ledger: Place | None = None,
    config: str | None = None,
    init: str | None = None,
    overwrite: bool = False,
    checkpoints: Place | None = None,
    seed: int | None = None,
    max_minutes: float | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    precision: str = "auto",
    resume: bool = False,
    progress: bool | None = None,
) -> Trained:
    """Learn a modality (or `population`) from the train rows of a folder; the weights go to `out`.

    `public` data cost nothing; else say `epsilon` and `delta`, the differential privacy of one patient, booked in
    `ledger` (ledger.jsonl beside `out` by default), and `limit`, the epsilon that the population may pay in all.
    `out` is `<modality>.safetensors` by default. `max_minutes` caps the time, `resume` goes on from the newest of
    `checkpoints`; `accelerator`, `devices` and `precision` are as Lightning names them; auto is
    bf16-mixed where the processor computes in bfloat16, else 32-true. `progress` shows a bar, by
    default on a terminal. Raises InputError before training starts, and BudgetExceeded, which is Refused.

    >>> train("imaging", data=folder / "nowhere", public=True)
    Traceback (most recent call last):
    polyclinic.core.errors.InputError: ...: no such folder; expected the training data there
    """
    from . import training

    require(epsilon=epsilon, delta=delta, limit=limit, seed=seed, max_minutes=max_minutes, devices=devices)
    path = Path(out or f"{modality}.safetensors")
    book = path.parent / "ledger.jsonl" if ledger is None else Path(ledger)
    privacy = training.Privacy.asked(public, epsilon, delta, book, limit)
    card = training.train(
        modality, Path(data), path, privacy, config=config, init=init, overwrite=overwrite,
        checkpoints=None if checkpoints is None else Path(checkpoints), seed=seed, max_minutes=max_minutes,
        accelerator=accelerator, devices=devices, precision=precision, resume=resume,
        **({} if progress is None else {"progress": progress}),
    )  # fmt: skip
    return Trained(path, card)


@public_function
def evaluate(
    cohort: "Cohort | Place",
    reference: "Given | None" = None,
    out: Place | None = None,
    *,
    quick: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] = _silent,
) -> Evaluation:
    """Score a cohort against real data, and write report.html and scores.json to `out` (the cohort by default).

    `reference` is a training folder with held-out rows, or a list of them. A set goes to the modality of its kind;
    where a cohort has several instances of one, to those that were learnt from data of its name, unless
    {modality: folder} or pairs of them say which. Without it the aggregates that ship are used, and figures that need
    real rows are quoted or not measured. `quick` looks at 40 patients and leaves out the slowest figures.
    `overwrite` replaces a report that is there. `progress` gets the part that begins. Raises InputError.

    >>> result = evaluate(open_cohort(folder), out=folder / "scored", quick=True)
    >>> list(result.to_frame().columns[:3]), result.report.name
    (['modality', 'view', 'metric'], 'report.html')
    """
    from ..core.training import weights
    from ..eval.report.report import evaluate as judge
    from .engines.job import chosen_of
    from .engines.use import recorded
    from .references import References

    judged = _on_disk(cohort)
    target = Path(out) if out is not None else judged.folder
    _require_no_report(target, overwrite)
    given = None if reference is None else References.load(reference)
    judged.require_files(hashes=not quick)
    with weights.using(recorded(judged)):
        chosen = chosen_of(judged)
        real = None if given is None else given.of(chosen)
        scores = judge(judged, chosen, real, target, profile=_profile(quick), progress=progress)
    return Evaluation(scores, target / "report.html")


@public_function
def compare(
    real: Place,
    synthetic: Place,
    out: Place,
    *,
    train: Place | None = None,
    quick: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] = _silent,
) -> Evaluation:
    """Judge a folder of synthetic data of any origin against a folder of real data; the report is in `out`.

    The real folder has a dataset.yaml with `options: {modality: NAME}` (docs/how-to/compare.md), or holds DICOM files
    or FHIR resources alone. A synthetic folder without a dataset.yaml is read by that of the real one. The figures are
    those that evaluate() has for one modality. Attacks need to know the real patients that the generator was trained
    on: those of split `train` in the real folder, or of the folder `train`. Without either, real patients are halved:
    one half is the baseline of real data, the other is compared with, and attacks are not measured. `overwrite`
    replaces a report that is there. Raises InputError.

    >>> compare(folder / "nowhere", folder / "nowhere", folder / "compared")
    Traceback (most recent call last):
    polyclinic.core.errors.InputError: ...: no such folder; expected the data to compare there
    """
    from ..eval.report.report import evaluate as judge
    from .compare import read_both

    target = Path(out)
    _require_no_report(target, overwrite)
    profile = _profile(quick)
    both = read_both(Path(real), Path(synthetic), profile.patients, None if train is None else Path(train))
    scores = judge(
        both.synthetic, [both.modality], {both.modality.name: [both.real]}, target, profile=profile,
        progress=progress, unattacked=both.unattacked,
    )  # fmt: skip
    return Evaluation(scores, target / "report.html")


@public_function
def convert(cohort: "Cohort | Place", to: str, *, out: Place) -> list[Path]:
    """Write the health records of a finished cohort in another installed format below `out`; the paths.

    `to` is omop (OMOP CDM 5.4), meds (MEDS 0.4), csv, bundles, or a format that a package adds. Raises InputError.

    >>> convert(open_cohort(folder), "nothing", out=folder / "other")
    Traceback (most recent call last):
    polyclinic.core.errors.InputError: ...
    """
    from .convert import convert as run

    return run(_on_disk(cohort), to, Path(out))


@public_function
def release(
    cohort: "Cohort | Place",
    policy: str,
    key: Place,
    *,
    reference: "Given | None" = None,
    ledgers: Sequence[Place] = (),
    watermark: Place | None = None,
    regenerate: int = 0,
    workers: int | None = None,
    progress: Callable[[str], None] = _silent,
) -> "Outcome":
    """Judge a cohort by a policy (internal, partner, public, or a YAML file) and sign its certificate with `key`.

    The result says which figures were not measured, and its `folder` holds certificate.json. `reference` is as
    evaluate() takes it. `regenerate` draws
    failing modalities again, at most so many times. Raises Refused with the reasons, in which case the cohort is in
    quarantine; InputError.

    >>> release(open_cohort(folder), "internal", folder / "no.key")
    Traceback (most recent call last):
    polyclinic.core.errors.InputError: ...
    """
    from ..eval.verdict import grouped
    from .governance.release import ReleaseContext
    from .governance.release import release as run

    require(regenerate=regenerate, workers=workers)
    books = tuple(Path(path) for path in ledgers)
    context = ReleaseContext.load(
        policy, Path(key), reference, books, None if watermark is None else Path(watermark)
    )
    outcome = run(_on_disk(cohort).folder, context, regenerate=regenerate, workers=workers, progress=progress)
    if not outcome.passed:
        raise Refused(
            f"{outcome.folder}: refused by {outcome.refused_by}: {listed(grouped(outcome.reasons))}"
        )
    return outcome


@public_function
def stream(
    source: "Cohort | Place",
    to: str,
    *,
    patients: int | None = None,
    speed: float | str = 1,
    seed: int = 0,
    start: str = "00:00",
    signals: str | Sequence[str] = ("ecg", "vitals"),
    fhir: bool = False,
    scenario: str | None = None,
    when_full: str = "",
    seconds: float | None = None,
    options: Options | None = None,
    modality: str = "signals",
    progress: Callable[[str], None] = _silent,
) -> "Tally":
    """Send the vitals and ECGs of a ward to `to` (mqtt://, ws://, sse://, - for lines) and count what was sent.

    `source` is a cohort, or the name of a shipped one (or a YAML file) whose patients are drawn now. `modality` is any
    installed one that can be streamed, `signals` one or some of ecg and vitals. `speed` is in times real time, or
    "max"; `seconds` of the ward's time are sent, without end by default. `progress` gets lines for a reader. Raises
    InputError.

    >>> stream("icu", "-", patients=1, seconds=0)
    Traceback (most recent call last):
    polyclinic.core.errors.InputError: seconds must be a number above 0 and at most 1e+09, got 0
    """
    from .cohort import Cohort
    from .stream.command import StreamRequest, stream_live

    require(patients=patients, seed=seed, seconds=seconds)
    folder = source.folder if isinstance(source, Cohort) else Path(source)
    named = isinstance(source, str) and not folder.is_dir()
    chosen = signals if isinstance(signals, str) else ",".join(signals)
    request = StreamRequest(
        to=to, folder=None if named else folder, cohort=str(source) if named else None, patients=patients,
        speed=str(speed), seed=seed, start=start, signals=chosen, fhir=fhir, scenario=scenario,
        when_full=when_full, seconds=seconds, options=options or {}, modality=modality,
    )  # fmt: skip
    return stream_live(request, progress)


def _on_disk(cohort: "Cohort | Place") -> Any:
    from .cohort import Cohort

    return (cohort if isinstance(cohort, Cohort) else Cohort(Path(cohort))).on_disk


def _profile(quick: bool) -> Any:
    from ..eval.profile import FULL, QUICK

    return QUICK if quick else FULL


def _require_no_report(folder: Path, overwrite: bool) -> None:
    from ..core.cohort.disk import require_folder, require_new_file

    require_folder(folder)
    if folder.exists():
        require_new_file(folder / "report.html", overwrite)
