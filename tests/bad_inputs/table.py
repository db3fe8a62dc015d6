"""The table of all cases: bases times their changes; and a sample of it by a seed, the same share of every format."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import sqrt
from random import Random

from . import bases, bases_made
from .bases import FOLDERS
from .bases_made import MADE
from .case import Case, Change
from .changes_files import of_bytes, of_kind, of_text
from .changes_images import of_dicom, of_png
from .changes_made import of_chain, of_checkpoint, of_key, of_manifest, of_weights
from .changes_options import of_command, of_drawing, of_formula
from .changes_signals import of_edf, of_wfdb
from .changes_stores import of_fhir, of_matrix, of_zarr
from .changes_tables import of_parquet, of_patients, of_series
from .changes_tree import harmless, of_json_syntax, of_keys, of_syntax, of_values

BASES = {base.name: base for base in (*FOLDERS, *MADE)}
SETTINGS = "data/dataset.yaml"


@cache
def every_case() -> list[Case]:
    """All of them; names are unique."""
    found: list[Case] = []
    seen: Counter[str] = Counter()
    for name, changes in _changes():
        for change in changes:
            case = Case(BASES[name], change)
            seen[case.name] += 1
            again = seen[case.name]  # names show the beginnings of values alone
            found.append(
                case if again == 1 else Case(case.base, replace(change, name=f"{change.name} ({again})"))
            )
    return found


def sample(number: int, seed: int) -> list[Case]:
    """About so many cases by chance, of each base in proportion to the root of its number, at least two.

    Of a base's cases those come first that bring a new kind of change (Case.kinds).
    """
    by_base: dict[str, list[Case]] = defaultdict(list)
    everything = every_case()
    for case in everything:
        by_base[case.base.name].append(case)
    chosen: list[Case] = []
    whole = sum(sqrt(len(cases)) for cases in by_base.values())
    for name, cases in by_base.items():
        count = max(2, round(number * sqrt(len(cases)) / whole))
        chosen += _of_all_kinds(Random(f"{seed} {name}").sample(cases, len(cases)))[:count]
    return chosen


def _of_all_kinds(cases: list[Case]) -> list[Case]:
    """The same cases, those first that bring a kind which none before has."""
    seen: set[tuple[str, str]] = set()
    first: list[Case] = []
    rest: list[Case] = []
    for case in cases:
        (first if case.kinds - seen else rest).append(case)
        seen |= case.kinds
    return first + rest


def _changes() -> Iterator[tuple[str, list[Change]]]:
    csv, series = "data/patients.csv", "data/series.csv"
    yield (
        "table",
        [
            *of_values(SETTINGS, bases.TABLE, free=("options",)),
            *of_keys(SETTINGS, bases.TABLE, free=("values", "declare", "fields")),
        ],
    )
    yield (
        "table",
        [
            *of_syntax(SETTINGS),
            *harmless(SETTINGS, bases.TABLE),
            *of_kind(SETTINGS),
            *of_bytes(SETTINGS),
            *of_text(SETTINGS),
        ],
    )
    yield "table", [*of_patients(csv, record=None), *of_kind(csv), *of_bytes(csv), *of_text(csv)]
    yield (
        "parquet",
        [
            *of_parquet("data/patients.parquet"),
            *of_kind("data/patients.parquet"),
            *of_bytes("data/patients.parquet"),
        ],
    )
    yield "population", [*of_patients(csv, record=None)[::3], *of_bytes(csv)[:3]]
    yield (
        "png",
        [
            *of_png("data/r001.png"),
            *of_kind("data/r001.png"),
            *of_bytes("data/r001.png"),
            *of_patients(csv)[-17:],
            *_options("png", bases.TABLE, {"modality": "imaging", "size": 16, "burned_in": "ignore"}),
        ],
    )
    yield "dicom", [*of_dicom("data/r001.dcm"), *of_kind("data/r001.dcm")[1:], *of_bytes("data/r001.dcm")]
    yield (
        "wfdb",
        [*of_wfdb("r001"), *of_kind("data/r001.hea"), *of_kind("data/r001.dat"), *of_bytes("data/r001.hea")],
    )
    yield "edf", [*of_edf("data/r001.edf"), *of_kind("data/r001.edf"), *of_bytes("data/r001.edf")]
    yield (
        "wide",
        [
            *of_series(series, "HR"),
            *of_kind(series),
            *of_bytes(series),
            *of_text(series),
            *_options("wide", bases.TABLE, bases.WIDE),
        ],
    )
    yield "long", [*of_series(series, "value"), *_options("long", bases.TABLE, bases.LONG)]
    yield (
        "omics",
        [
            *of_matrix("data/rna.csv"),
            *of_kind("data/rna.csv"),
            *of_bytes("data/rna.csv"),
            *_options("omics", bases.TABLE, bases.ASSAYS),
        ],
    )
    yield "zarr", of_zarr("data/rna.zarr")
    yield "h5ad", [*of_kind("data/rna.h5ad"), *of_bytes("data/rna.h5ad")]
    yield "fhir", [*of_fhir("data"), *of_kind("data/Observation.ndjson", missing="other")[:4]]
    yield (
        "omop",
        [*of_kind("data/person.csv"), *of_bytes("data/measurement.csv", says=("measurement", "data"))[:4]],
    )
    yield (
        "cohort YAML",
        [
            *of_values("cohort.yaml", bases_made.COHORT, free=("include", "exclude", "who", "given")),
            *of_keys("cohort.yaml", bases_made.COHORT),
            *of_syntax("cohort.yaml"),
        ],
    )
    yield (
        "policy YAML",
        [
            *of_values("policy.yaml", bases_made.POLICY),
            *of_keys("policy.yaml", bases_made.POLICY),
            *of_syntax("policy.yaml"),
        ],
    )
    yield (
        "scenario YAML",
        [
            *of_values("scenario.yaml", bases_made.SCENARIO),
            *of_keys("scenario.yaml", bases_made.SCENARIO),
            *of_kind("scenario.yaml"),
        ],
    )
    yield (
        "training YAML",
        [
            *of_values("training.yaml", bases_made.TRAINING),
            *of_keys("training.yaml", bases_made.TRAINING),
            *of_kind("training.yaml"),
        ],
    )
    yield "learnt table", of_weights("table.safetensors")
    yield (
        "weights",
        [
            *of_weights("own/vitals.safetensors", deep=False),
            *of_kind("own/vitals.safetensors", missing="other"),
            *of_bytes("own/vitals.safetensors"),
        ],
    )
    yield "use vitals", of_weights("own/vitals.safetensors")
    yield "use omics", of_weights("own/omics.safetensors")[-13:]
    for name in ("verify", "purge", "stream", "evaluate", "convert", "resume", "release", "approve"):
        step = {"verify": 1, "purge": 1, "stream": 2}.get(name, 4)
        yield name, of_manifest("c")[::step]
    for name in ("verify", "stream", "convert"):
        yield (
            name,
            [*of_json_syntax("c/manifest.json"), *of_kind("c/manifest.json", says=("manifest", "cohort"))],
        )
    yield "stream", [*of_kind("c/patients.parquet"), *of_bytes("c/patients.parquet")]
    yield "journal", [*of_chain("c/journal.jsonl"), *of_kind("c/journal.jsonl")]
    yield "ledger", [*of_chain("ledger.jsonl"), *of_kind("ledger.jsonl")]
    yield "charge", [*of_chain("ledger.jsonl")[:6], *of_kind("ledger.jsonl")[1:]]
    yield "approve", [*of_key("k.pem"), *of_kind("k.pem")]
    yield "watermark", [*of_key("m.key"), *of_kind("m.key")]
    yield "checkpoint", of_checkpoint("ck/omics/last.ckpt")
    for name in (
        "cohort YAML",
        "population",
        "stream",
        "evaluate",
        "release",
        "approve",
        "verify",
        "purge",
        "convert",
        "compare",
        "journal",
        "ledger",
        "infer",
    ):
        yield name, list(of_command(BASES[name]))
    yield "drawing", list(of_drawing(BASES["drawing"]))
    yield "infer", [*of_formula(BASES["infer"]), *of_weights("w.safetensors")[::4]]


def _options(name: str, described: dict[str, object], options: dict[str, object]) -> list[Change]:
    """Settings of a modality in a dataset.yaml."""
    whole = {**described, "options": options}
    changes = [*of_values(SETTINGS, whole), *of_keys(SETTINGS, whole)]
    return [change for change in changes if "options" in change.name]
