"""A released cohort described: Croissant for programs, a datasheet in Markdown for people."""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ...core.cohort.cohort import PATIENTS, Cohort
from ...core.text import shown
from .record_sets import DICOM, NDJSON, STORES, ZARR, record_sets, spdx, store_roots

if TYPE_CHECKING:
    from jinja2 import Environment

FORMATS: Mapping[str, str | list[str]] = {  # ending of a file -> media type; the rest are bytes
    ".dcm": DICOM,
    ".hea": "text/plain",
    ".ndjson": NDJSON,
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".csv": "text/csv",
    ".parquet": "application/x-parquet",
    ".h5ad": "application/x-hdf5",
}
BYTES = "application/octet-stream"
TYPES = {
    "bool": "sc:Boolean",
    "double": "sc:Float",
    "date32[day]": "sc:Date",
}  # by Arrow type; the rest is text


def croissant(cohort: Cohort, certificate: Mapping[str, Any]) -> dict[str, Any]:
    """The cohort as Croissant 1.0 with responsible-AI fields: every kind of file, and the columns of the table.

    Raises InputError if the table of patients cannot be read.
    """
    manifest = cohort.manifest
    # of the data behind the weights, each once: what they ask may bind those who use the cohort
    used = [data for card in certificate["weights"] for data in card.get("data", ())]
    licences = list(dict.fromkeys(spdx(data["licence"]) for data in used))
    name = f"polyclinic-{manifest['population']['name']}-{certificate['cohort']['manifest_sha256'][:12]}"
    return {
        "@context": json.loads(resources.files(__package__).joinpath("croissant_context.json").read_text()),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": name,
        "description": " ".join(_about(cohort, certificate)),
        "version": "1.0.0",
        "datePublished": certificate["issued"][:10],
        "license": licences or ["not stated"],
        "url": f"urn:sha256:{certificate['cohort']['manifest_sha256']}",
        "creator": {
            "@type": "sc:Organization",
            "name": f"holder of Ed25519 key {certificate['signed_by']}",
        },
        "keywords": ["synthetic data", *manifest["modalities"]],
        "citeAs": f"{name}, drawn with Polyclinic {manifest['software']['polyclinic']}",
        "isLiveDataset": False,
        "rai:dataCollection": "No person was recorded: every record was drawn by a model, or written by rules.",
        "rai:dataCollectionType": "Synthetic data generation",
        "rai:personalSensitiveInformation": (
            "Invented patients. What the models may reveal of the people they learnt from was measured; see the "
            "certificate."
        ),
        "rai:dataLimitations": "; ".join(certificate["verdict"]["not_measured"]) or "none known",
        "rai:dataUseCases": certificate["policy"]["about"].strip(),
        "distribution": list(_distribution(manifest)),
        "recordSet": [_table(cohort), *record_sets(manifest["files"])],
    }


def datasheet(cohort: Cohort, certificate: Mapping[str, Any]) -> str:
    """A datasheet in Markdown: what is in the cohort, how it was made, what was measured, and what was not."""
    return (
        pages()
        .get_template("datasheet.md.j2")
        .render(
            certificate=certificate,
            policy=certificate["policy"],
            population=cohort.manifest["population"],
            modalities=cohort.manifest["modalities"],
            about=_about(cohort, certificate),
            verdict=lambda passed: "passed" if passed else "refused",
        )
    )


def pages() -> "Environment":
    """The engine of Markdown pages: names from data are text, no HTML and no cells of a table more."""
    from jinja2 import Environment, PackageLoader

    def plain(value: object) -> object:
        if not isinstance(value, str):
            return value
        return escape(shown(value), quote=False).replace("|", "&#124;")

    return Environment(
        loader=PackageLoader("polyclinic.app.governance", ""),
        trim_blocks=True,
        keep_trailing_newline=True,
        finalize=plain,
    )


def _about(cohort: Cohort, certificate: Mapping[str, Any]) -> list[str]:
    names = ", ".join(cohort.manifest["modalities"])
    return [
        f"{cohort.patients} synthetic patients ({names}), linked by patient id.",
        "No record is of a person: each was drawn by a model or written by rules, and every file says so.",
        f"Released under the policy “{certificate['policy']['name']}” on {certificate['issued'][:10]}.",
    ]


def _distribution(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The table of patients, and a set of files for each place and kind."""
    yield {
        "@type": "cr:FileObject", "@id": PATIENTS, "name": PATIENTS, "description": "One row a patient.",
        "contentUrl": PATIENTS, "encodingFormat": FORMATS[".parquet"], "sha256": manifest["files"][PATIENTS]["sha256"],
    }  # fmt: skip
    for pattern, files in sorted(_patterns(manifest["files"]).items()):
        top, ending = pattern.partition("/")[0], PurePosixPath(pattern).suffix
        name = f"{top}{ending}"
        yield {
            "@type": "cr:FileSet", "@id": name, "name": name, "description": f"{files} files below {top}/.",
            "encodingFormat": FORMATS.get(ending, BYTES), "includes": pattern,
        }  # fmt: skip
    if roots := store_roots(manifest["files"]):
        yield {
            "@type": "cr:FileSet", "@id": STORES, "name": STORES, "description": "Metadata of zarr stores.",
            "encodingFormat": ZARR, "includes": roots,
        }  # fmt: skip


def _patterns(paths: Iterable[str]) -> dict[str, int]:
    """Patterns that cover the files below a cohort's folders, by folder and ending, and how many each covers.

    A folder in which files have no ending (the chunks of a zarr store) is one set.
    """
    below = [PurePosixPath(path) for path in paths if "/" in path]
    mixed = {path.parts[0] for path in below if not path.suffix}
    found: dict[str, int] = {}
    deep = {(path.parts[0], path.suffix) for path in below if len(path.parts) > 2}
    for path in below:
        top = path.parts[0]
        between = "**/" if top in mixed or (top, path.suffix) in deep else ""
        pattern = f"{top}/{between}*" + ("" if top in mixed else path.suffix)
        found[pattern] = found.get(pattern, 0) + 1
    return found


def _table(cohort: Cohort) -> dict[str, Any]:
    """Columns of the table of patients."""
    import pyarrow.parquet

    fields = [
        {
            "@type": "cr:Field",
            "@id": f"patients/{column.name}",
            "name": column.name,
            "description": column.name.replace("_", " "),
            "dataType": TYPES.get(str(column.type), "sc:Text"),
            "source": {"fileObject": {"@id": PATIENTS}, "extract": {"column": column.name}},
        }
        for column in pyarrow.parquet.read_schema(cohort.folder / PATIENTS)
    ]
    return {
        "@type": "cr:RecordSet", "@id": "patients", "name": "patients", "description": "Who the patients are.",
        "key": {"@id": "patients/patient_id"}, "field": fields,
    }  # fmt: skip
