"""CohortData: what the viewer shows of a cohort: its figures, columns of its table, each patient's files. No torch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.cohort.cohort import PATIENTS, Cohort
from ...core.cohort.quarantine import require_free
from ...core.errors import InputError, first_line
from ...core.fields import Field, Vocabulary
from ...core.paths import inside, require_file
from ...core.registry import vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

OWN = ("patient_id", "index_date")  # columns that are no field of a patient
HAS = "has_"
BINS = 12  # of a histogram
MOST_CLASSES = 60  # that a category may have to be counted
DOCUMENTS = {"report": "report.html", "certificate": "certificate.json", "scores": "scores.json"}


class CohortData:
    """A finished cohort that may be shown. The table is read a column at a time, when it is asked for.

    Raises InputError where the folder has no finished cohort, and Refused if it is in quarantine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.cohort = Cohort.open(self.folder)
        self.cohort.require_complete()
        require_free(self.folder)
        require_file(self.folder / PATIENTS, "the table of a cohort's patients")
        self._files = self._by_patient(self.cohort.manifest.pop("files"))
        self.patients = len(self.ids)

    def _by_patient(self, files: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """The names of each patient's own files; hashes and what patients share are not kept."""
        known, found = set(self.ids), dict[str, list[str]]()
        for name in files:
            for part in name.split("/")[1:3]:
                if part in known:
                    found.setdefault(part, []).append(name)
                    break
        return {patient: tuple(names) for patient, names in found.items()}

    @property
    def name(self) -> str:
        """The name of its population, or of its folder."""
        return str(self.cohort.manifest.get("population", {}).get("name") or self.folder.resolve().name)

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the patients, in the cohort's order."""
        return [str(value) for value in self.column("patient_id")]

    @cached_property
    def _schema(self) -> "pa.Schema":
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / PATIENTS
        try:
            found = pq.read_schema(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read as a table of patients: {first_line(error)}") from None
        if missing := [name for name in ("patient_id", "age", "sex") if name not in found.names]:
            raise InputError(
                f"{path}: expected the table of patients that a cohort has, no column {missing[0]!r}"
            )
        return found

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        declared = self.cohort.manifest.get("population", {}).get("declare") or {}
        try:
            return vocabulary().declare(declared, f"{self.folder}: manifest: declare")
        except InputError:  # fields of a plugin that is not here: their names and columns remain
            return vocabulary()

    def field(self, name: str) -> Field:
        """What is known of a column. One that nobody declared is described by what it holds."""
        if name in self._vocabulary:
            return self._vocabulary.by_name[name]
        if name not in self._schema.names:
            raise InputError(f"no field {name!r} in the table of patients")
        kind = str(self._schema.field(name).type)
        return Field(name, name, {"bool": "flag", "string": "category"}.get(kind, "number"))  # type: ignore[arg-type]

    @property
    def columns(self) -> list[str]:
        """Names of the columns that one may filter and sort by: fields, then which records a patient has."""
        return [name for name in self._schema.names if name not in OWN]

    def column(self, name: str) -> list[Any]:
        """A value a patient, None where it is not known. Raises InputError for a name that is no column."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if name not in self._schema.names:
            raise InputError(f"no column {name!r} in the table of patients")
        try:
            values = pq.read_table(self.folder / PATIENTS, columns=[name], use_threads=False)[0]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{self.folder / PATIENTS}: {first_line(error)}") from None
        return [_plain(value) for value in values.to_pylist()]

    def conditions(self) -> dict[str, Any]:
        """`names` of all flags, and `present`: the places of those that each patient has."""
        names = [n for n in self.columns if not n.startswith(HAS) and self.field(n).kind == "flag"]
        present: list[list[int]] = [[] for _ in self.ids]
        for place, name in enumerate(names):
            for own, value in zip(present, self.column(name), strict=True):
                if value:
                    own.append(place)
        return {"names": names, "present": present}

    def files_of(self, patient_id: str) -> tuple[str, ...]:
        """Names of the files of one patient, below the folder. Raises InputError for an unknown patient."""
        if patient_id not in self._files and patient_id not in self.ids:
            raise InputError(f"no patient {patient_id!r} in this cohort")
        return self._files.get(patient_id, ())

    def path(self, name: str) -> Path:
        """A regular file of the cohort by its name, links followed. Raises InputError for all else."""
        path = inside(self.folder, name, "file")
        if any(part.startswith(".") for part in path.relative_to(self.folder).parts):
            raise InputError(f"no file {name!r} in this cohort")
        require_file(path, "a file of this cohort")
        return path

    def overview(self) -> dict[str, Any]:
        """Figures of the manifest and of each field, in plain JSON types."""
        manifest = self.cohort.manifest
        modalities = [
            {
                "name": name,
                "indication": str(own.get("indication", "")),
                "with_record": own.get("with_record", self.patients),
            }
            for name, own in sorted(manifest["modalities"].items())
        ]
        return {
            "name": self.name,
            "title": str(manifest.get("population", {}).get("title") or self.name),
            "folder": self.folder.resolve().name,
            "patients": self.patients,
            "seed": manifest.get("seed"),
            "modalities": modalities,
            "weights": sorted(manifest.get("weights", {})),
            "software": dict(manifest.get("software", {})),
            "watermark": bool(manifest.get("watermark")),
            "fields": [self.describe(name) for name in self.columns],
            "documents": sorted(self.documents()),
        }

    def documents(self) -> dict[str, str]:
        """The documents that are there, by what they are: report, certificate, scores."""
        return {kind: name for kind, name in DOCUMENTS.items() if (self.folder / name).is_file()}

    def describe(self, name: str) -> dict[str, Any]:
        """A field: label, kind, unit, codes, and how its values are distributed."""
        if name.startswith(HAS) and name not in self._vocabulary:
            label = f"has {name.removeprefix(HAS)}"
            own: dict[str, Any] = {"name": name, "label": label, "kind": "flag", "unit": "", "codes": {}}
        else:
            known = self.field(name)
            own = {
                "name": name,
                "label": known.label,
                "kind": known.kind,
                "unit": known.unit,
                "codes": dict(known.codes),
            }
        return own | distribution(own["kind"], self.column(name))


def _plain(value: Any) -> Any:
    """A cell as JSON has it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def distribution(
    kind: str, values: Sequence[Any], edges: Sequence[float] | None = None, classes: Sequence[str] = ()
) -> dict[str, Any]:
    """How values are distributed: `unknown`, and `counts` by class, or `edges` with `counts`, mean and sd.

    `edges` and `classes` are those of another cohort's, where two are compared.
    """
    known = [value for value in values if value is not None]
    found: dict[str, Any] = {"unknown": len(values) - len(known)}
    if kind == "number":
        numbers = [float(value) for value in known]
        if not numbers and edges is None:
            return found | {"edges": [], "counts": [], "mean": None, "sd": None}
        edges = list(edges or _edges(min(numbers), max(numbers)))
        mean = sum(numbers) / len(numbers) if numbers else None
        sd = None if mean is None else math.sqrt(sum((x - mean) ** 2 for x in numbers) / len(numbers))
        return found | {"edges": edges, "counts": _binned(numbers, edges), "mean": mean, "sd": sd}
    words = ["yes" if v is True else "no" if v is False else str(v) for v in known]
    there = dict.fromkeys(("yes", "no") if kind == "flag" else (*classes, *sorted(set(words))))
    names = list(there)[:MOST_CLASSES]
    return found | {"classes": names, "counts": [words.count(name) for name in names]}


def _edges(low: float, high: float) -> list[float]:
    """Edges of about BINS equal bins on round numbers."""
    if low == high:
        return [low - 0.5, high + 0.5]
    rough = (high - low) / BINS
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1, 2, 2.5, 5, 10) if scale * factor >= rough)
    first, last = math.floor(low / step), math.floor(high / step) + 1
    return [float(f"{step * place:.10g}") for place in range(first, last + 1)]


def _binned(numbers: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many numbers lie in each bin; the last one has its upper edge, those outside are in the outer ones."""
    counts = [0] * (len(edges) - 1)
    width = (edges[-1] - edges[0]) / len(counts)
    for number in numbers:
        counts[min(len(counts) - 1, max(0, int((number - edges[0]) / width)))] += 1
    return counts


def compared(first: CohortData, second: CohortData) -> dict[str, Any]:
    """Two cohorts side by side: each field that both have, in the same bins, with the standardised difference.

    The difference is that of means (of shares) over the root mean square of both standard deviations: Cohen's d.
    """
    shared = [name for name in first.columns if name in second.columns]
    return {
        "cohorts": [
            {"name": one.name, "folder": one.folder.resolve().name, "patients": one.patients}
            for one in (first, second)
        ],
        "only": [
            [name for name in one.columns if name not in shared] for one in (first, second)
        ],
        "fields": [_side_by_side(name, first, second) for name in shared],
    }  # fmt: skip


def _side_by_side(name: str, first: CohortData, second: CohortData) -> dict[str, Any]:
    about = first.describe(name)
    kind, columns = about["kind"], [one.column(name) for one in (first, second)]
    known = [[value for value in values if value is not None] for values in columns]
    head = {key: about[key] for key in ("name", "label", "kind", "unit")}
    if kind == "number":
        both = [float(value) for values in known for value in values]
        edges = _edges(min(both), max(both)) if both else [0.0, 1.0]
        sides = [distribution(kind, values, edges) for values in columns]
        moments = [(side["mean"], side["sd"]) for side in sides]
    else:
        classes = sorted({str(value) for values in known for value in values})
        sides = [distribution(kind, values, classes=classes) for values in columns]
        moments = list(_shares(kind, known))
    return {**head, "sides": sides, "difference": _cohen(moments)}


def _shares(kind: str, known: Sequence[Sequence[Any]]) -> Iterator[tuple[float | None, float | None]]:
    """Mean and standard deviation of a flag; of a category none, its classes are shown."""
    for values in known:
        share = sum(values) / len(values) if kind == "flag" and values else None
        yield share, None if share is None else math.sqrt(share * (1 - share))


def _cohen(moments: Sequence[tuple[float | None, float | None]]) -> float | None:
    (a, sa), (b, sb) = moments
    if a is None or b is None or sa is None or sb is None:
        return None
    spread = math.sqrt((sa**2 + sb**2) / 2)
    return (b - a) / spread if spread else (0.0 if a == b else None)
