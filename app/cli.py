"""The command line: arguments, progress, exit codes (0 done, 1 bug, 2 wrong input, 3 refused); no logic."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import InputError, Refused, of_the_machine
from ..core.remarks import remarks
from ..core.text import say
from . import learning, listings
from .calling import command_line, plain_usage
from .governance import commands as governance_commands
from .push.command import push
from .terminal import bar, table
from .viewer.command import view

if TYPE_CHECKING:
    from .api import Evaluation
    from .references import Given

INTERRUPTED = 130
UsageError: Any = typer.BadParameter.__base__  # of typer's own parser, which is not public under this name
app = typer.Typer(
    name="polyclinic",
    help="Linked synthetic patients: images, signals, omics and the record that ties them together.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")]
Cohort = Annotated[
    str, typer.Option(help="Name of a shipped cohort, or a YAML file; NAME:SITE for one site.")
]
WatermarkKey = Annotated[
    Path | None, typer.Option(help="Key file: images, ECGs and omics carry its invisible mark.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the report that is there.")]
SetOptions = Annotated[
    list[str] | None,
    typer.Option("--set", help="A modality's own setting, as imaging.compression=rle; may be repeated."),
]


def main() -> None:
    """Run a command and exit; a user's error is one line on stderr. SIGTERM ends it as Ctrl-C does."""
    try:
        with remarks(_say), _terminated(), of_the_machine():
            _require_values(sys.argv[1:])
            code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except UsageError as error:
        _fail(plain_usage(error), 2)
    except InputError as error:
        _fail(error, 2)
    except Refused as error:
        _fail(error, 3)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped", INTERRUPTED)
    sys.exit(code or 0)


def _require_values(words: list[str]) -> None:
    """Raises InputError for an empty word: as a path it would be the working directory."""
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=")
        if not word.strip() or (equals and option.startswith("--") and not value.strip()):
            name = option if equals else before if before.startswith("-") else "an argument"
            raise InputError(f"{name}: expected a value, got an empty one; leave it out for its default")


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt in the block, so that whoever is stopped says what is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(error: object, code: int) -> None:
    _say(error)
    sys.exit(code)


def _say(text: object) -> None:
    say(f"polyclinic: {' '.join(str(text).split())}", aside=True)


def _version(asked: bool) -> None:
    if asked:
        from .. import __version__

        say(f"polyclinic {__version__}")
        raise typer.Exit


@app.callback()
def _all(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.with_resource(command_line())


@app.command()
def demo(out: Out = Path("polyclinic-demo")) -> None:
    """Make 25 linked patients from the shipped weights, score them, and write a report to open."""
    _generate("cardio_oncology", 25, out, seed=7)
    _evaluate(out, None, out)


@app.command()
def generate(
    out: Out,
    patients: Annotated[int | None, typer.Option(help="How many patients; or --fields.")] = None,
    cohort: Annotated[
        str | None,
        typer.Option(help="Shipped cohort or YAML file, NAME:SITE; cardio_oncology, with --fields adults."),
    ] = None,
    fields: Annotated[
        str | None, typer.Option(help="So many of each class of a field: 'melanoma: 300 yes, 300 no'.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    modalities: Annotated[
        str,
        typer.Option(
            help="Some of the installed ones, as a,b; by default all but genotypes and wearable, and what --use adds."
        ),
    ] = "",
    options: SetOptions = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            help="Weights in place of those in force, as imaging=FILE, or of a second set of records beside theirs, as "
            "imaging:skin=FILE; may be repeated."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes; one a core (a GPU: as its memory holds) by default, where each has 64 patients."
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where networks draw: cpu, cuda or cuda:N; auto is a GPU where there is one.")
    ] = "auto",
    engine: Annotated[
        str, typer.Option(help="What runs the slices: local, ray, or another that is installed.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="With --engine ray: HOST:PORT of the cluster's head, auto, or local; else $RAY_ADDRESS."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Patients drawn together; 16 at most, a slice.")] = 16,
    resume: Annotated[bool, typer.Option("--resume", help="Complete an unfinished cohort there.")] = False,
    watermark_key: WatermarkKey = None,
) -> None:
    """Draw a cohort of linked synthetic patients into a folder."""
    _generate(
        cohort or ("adults" if fields else "cardio_oncology"), patients, out, seed=seed, fields=fields,
        modalities=_names(modalities), options=_options(options or []), workers=workers, batch_size=batch_size,
        resume=resume, watermark=watermark_key, engine=engine, address=address, device=device, use=_use(use or []),
    )  # fmt: skip


def _names(text: str) -> list[str]:
    """The names of a list as `a, b`."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _use(texts: list[str]) -> dict[str, str]:
    """Weight files by name, of `name=FILE` settings."""
    found: dict[str, str] = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not (name and file):
            raise InputError(f"--use expects NAME=FILE, as imaging=skin.safetensors, got {text!r}")
        if name in found:
            raise InputError(f"--use {name}: given twice, {found[name]} and {file}; leave one out")
        found[name] = file
    return found


def _options(texts: list[str]) -> dict[str, dict[str, Any]]:
    """`modality.key=value` settings by modality; values as YAML reads them."""
    import yaml

    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        modality, dot, key = place.partition(".")
        if not (equals and dot and modality and key):
            raise InputError(f"--set expects modality.key=value, got {text!r}")
        try:
            found.setdefault(modality, {})[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {place}: {value!r} is not a YAML value; put text in quotes") from None
    return found


def _generate(population: str, patients: int | None, out: Path, **how: Any) -> None:
    from .api import generate_cohort
    from .engines.job import population_of

    began, steps = time.monotonic(), list[int]()
    try:
        with bar() as show:

            def progress(done: int, total: int) -> None:
                steps.append(done)
                show(done, total)

            cohort = generate_cohort(population, patients, out=out, progress=progress, **how)
    except KeyboardInterrupt:
        _fail(f"stopped; what is done is kept in {out}: the same command with --resume goes on", INTERRUPTED)
    seconds = time.monotonic() - began
    drawn = len(cohort) - steps[0] if steps else 0
    if drawn:
        say(f"{drawn} patients in {seconds:.1f} s, {60 * drawn / seconds:.0f} a minute, in {out}")
    else:
        say(f"nothing left to do: {len(cohort)} patients in {out}")
    for line in population_of(cohort.on_disk).describe(len(cohort)):
        say(line)


app.command()(learning.train)
app.command()(learning.infer)


@app.command()
def evaluate(
    cohort: Annotated[Path, typer.Argument(help="Folder of a finished cohort.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html and scores.json.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="Real data with held-out rows, or modality=DIR (imaging:skin=DIR); may be repeated; else the figures "
            "that ship."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at 40 patients only, leave out the slowest figures.")
    ] = False,
    overwrite: Overwrite = False,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Your private key: sign the figures, so that `release` by it, on these data, takes them."
        ),
    ] = None,
    ledger: Annotated[
        list[Path] | None, typer.Option(help="With --key: a ledger of the weights; may be repeated.")
    ] = None,
) -> None:
    """Score a cohort against real data and write a report."""
    from .references import parse

    given = parse(reference or [])
    if key is not None:
        _measure(cohort, key, given, out, ledger or [], quick)
    elif ledger:
        raise InputError("--ledger: expected beside --key; figures that are not signed are noted nowhere")
    else:
        _evaluate(cohort, given, out, quick, overwrite)


@app.command()
def compare(
    real: Annotated[
        Path, typer.Argument(help="Folder of real data: dataset.yaml beside the files, or DICOM, or FHIR.")
    ],
    synthetic: Annotated[
        Path, typer.Argument(help="Folder of synthetic data of any origin, in the same form.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.html and scores.json.")],
    train: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the real data that the generator was trained on; REAL is then held out."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at 40 patients, leave out the slowest figures.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Judge a folder of synthetic data against a folder of real data, and write a report."""
    from .api import compare as judge

    _show(judge(real, synthetic, out, train=train, quick=quick, overwrite=overwrite))


@app.command()
def convert(
    cohort: Annotated[Path, typer.Argument(help="Folder of a finished cohort.")],
    to: Annotated[str, typer.Option(help="omop, meds, csv, bundles, or an installed format of records.")],
    out: Out,
) -> None:
    """Write the health records of a cohort in another format, into a folder of their own."""
    from . import api

    paths = api.convert(cohort, to, out=out)
    say(f"{len(paths)} {'file' if len(paths) == 1 else 'files'} in {out}")


@app.command()
def stream(
    to: Annotated[
        str,
        typer.Option(
            help="mqtt:// or mqtts://host:port/prefix?qos=1; ws://, sse://, view:// (a page), host:port; - for lines."
        ),
    ],
    folder: Annotated[Path | None, typer.Argument(help="Folder of a finished cohort; or --cohort.")] = None,
    cohort: Annotated[str | None, typer.Option(help="Cohort to draw patients of, by name or YAML.")] = None,
    patients: Annotated[
        int | None, typer.Option(help="Beds; all of a folder, 10 of --cohort by default.")
    ] = None,
    speed: Annotated[str, typer.Option(help="Times real time, or max.")] = "1",
    seed: Annotated[int, typer.Option(help="The same seed gives the same signals.")] = 0,
    start: Annotated[str, typer.Option(help="Time of day at which the stream begins, HH:MM.")] = "00:00",
    signals: Annotated[str, typer.Option(help="Some of ecg,vitals,ppg.")] = "ecg,vitals",
    fhir: Annotated[
        bool, typer.Option("--fhir", help="FHIR R4 Observations in place of plain JSON.")
    ] = False,
    scenario: Annotated[str | None, typer.Option(help="What happens on the ward, by name or YAML.")] = None,
    when_full: Annotated[
        str,
        typer.Option(help="drop or wait, when a reader is too slow; by default drop, with --speed max wait."),
    ] = "",
    seconds: Annotated[float | None, typer.Option(help="Of the ward's time; for ever by default.")] = None,
    modality: Annotated[str, typer.Option(help="An installed modality that can be streamed.")] = "signals",
    options: SetOptions = None,
) -> None:
    """Send the vitals and ECGs of a ward, live, to a broker, to clients, or as lines."""
    from .api import stream as send

    if (folder is None) == (cohort is None):
        raise InputError("expected either the folder of a cohort or --cohort NAME")
    tally = send(
        folder or str(cohort), to, patients=patients, speed=speed, seed=seed, start=start, signals=_names(signals),
        fhir=fhir, scenario=scenario, when_full=when_full, seconds=seconds, modality=modality,
        options=_options(options or []), progress=_say,
    )  # fmt: skip
    if tally.state == "stopped":
        _fail("stopped", INTERRUPTED)


for command in (*governance_commands.COMMANDS, push, view, listings.modalities):
    app.command()(command)
app.command(name="weights")(listings.show_weights)
app.command()(listings.ledger)


def _evaluate(
    cohort: Path, reference: "Given | None", out: Path, quick: bool = False, overwrite: bool = False
) -> None:
    from .api import evaluate

    _show(evaluate(cohort, reference, out, quick=quick, overwrite=overwrite))


def _measure(
    cohort: Path, key: Path, reference: "Given | None", out: Path, ledgers: list[Path], quick: bool
) -> None:
    from .governance.measuring import measure
    from .results import Evaluation

    if quick or out.resolve() != cohort.resolve():
        wrong = "--quick" if quick else f"--out {out}"
        raise InputError(f"{wrong}: with --key expected all figures, in the cohort's folder: --out {cohort}")
    _show(Evaluation(*measure(cohort, key, reference, ledgers, _say)))


def _show(found: "Evaluation") -> None:
    views = found.scores["views"]
    table(["", "distance", "C2ST", "TSTR"], [[view["title"], *view["verdicts"].values()] for view in views])
    for own in views:
        if all(score["value"] is None for score in own["scores"]):
            say(f"{own['title']}: not measured: {own['scores'][0]['reason']}")
    if linked := found.scores["linkage"].get("in_words"):
        say(f"linkage: {linked}")
    say(f"report: {found.report}")
