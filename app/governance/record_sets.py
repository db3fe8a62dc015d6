"""What programs read out of a cohort by its Croissant card: images, signal headers, stores and resources, by patient.

mlcroissant 1.1 reads a file by its encoding format and knows few; a second format, which it knows, stands beside the
registered one. In its patterns `*` crosses folders. It has no reader of EDF, DICOM waveforms, HDF5 and zarr's chunks:
these are sets of files without records.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Any

DICOM = ["application/dicom", "image/dicom"]
NDJSON = ["application/fhir+ndjson", "application/jsonlines"]
ZARR = ["application/vnd+zarr", "application/json"]
STORES = "omics.zarr"  # the roots of zarr stores, as a set of files
SPDX = {  # licences as cards spell them -> SPDX identifier
    "CC BY 4.0": "CC-BY-4.0",
    "CC BY-SA 4.0": "CC-BY-SA-4.0",
    "CC0": "CC0-1.0",
    "CC0 1.0": "CC0-1.0",
    "ODC-By 1.0": "ODC-By-1.0",
    "ODbL 1.0": "ODbL-1.0",
    "MIT": "MIT",
    "Apache-2.0": "Apache-2.0",
}
OWNER = r"(?:.*/)?{home}/([^/]+)/.*"  # whose file it is, by its path: dicom/<patient>/...


def spdx(licence: str) -> str:
    """The licence's page at spdx.org; one that SPDX does not list stays as it is written."""
    return f"https://spdx.org/licenses/{SPDX[licence]}.html" if licence in SPDX else licence


def store_roots(files: Collection[str]) -> list[str]:
    """The metadata of each zarr store of omics, which lists all its arrays."""
    return sorted(
        path for path in files if re.fullmatch(r"(omics-[^/]+/)?omics/[^/]+\.zarr/zarr\.json", path)
    )


def record_sets(files: Collection[str]) -> Iterator[dict[str, Any]]:
    """A record set for each kind of file that there is and that can be read."""
    for tag, home, source in _homes(files, "imaging", "dicom", ".dcm"):
        name = f"images{tag}"
        pixels = _field(
            f"{name}/pixels", "Stored values, row by row.", "sc:Integer", source, fileProperty="content"
        )
        yield _set(name, f"DICOM images in {home}/.", [*_whose(name, home, source), pixels])
    for tag, home, source in _homes(files, "signals", "wfdb", ".hea"):
        name = f"signals{tag}"
        header = _field(f"{name}/header", "The header, as text.", "sc:Text", source, fileProperty="content")
        yield _set(name, f"Headers of WFDB records in {home}/.", [*_whose(name, home, source), header])
    if any(re.fullmatch(r"fhir/[^/]+\.ndjson", path) for path in files):
        said = {
            "resourceType": "Type of the resource.",
            "id": "Its id, which begins with that of the patient.",
        }
        columns = [_field(f"resources/{k}", v, "sc:Text", "fhir.ndjson", column=k) for k, v in said.items()]
        yield _set("resources", "FHIR resources, one a line.", columns)
    if store_roots(files):
        about = {
            "assay": ("sc:Text", "$.attributes.assay"),
            "statement": ("sc:Text", "$.attributes.statement"),
        }
        fields = [
            _field(f"assays/{k}", f"{k} of the store.", t, STORES, jsonPath=p) for k, (t, p) in about.items()
        ]
        path = _field(
            "assays/path", "Path of the store's metadata.", "sc:Text", STORES, fileProperty="fullpath"
        )
        yield _set("assays", "AnnData stores, an assay each.", [path, *fields])


def _homes(files: Collection[str], modality: str, folder: str, ending: str) -> list[tuple[str, str, str]]:
    """Where files of a modality lie: `folder`, or <modality>-NAME/folder of a second set; with a tag and their set."""
    found: dict[str, tuple[str, str, str]] = {}
    for path in files:
        top, *inner = PurePosixPath(path).parts
        if not path.endswith(ending):
            continue
        if top == folder:
            found[top] = ("", folder, f"{top}{ending}")
        elif top.startswith(f"{modality}-") and inner[0] == folder:
            found[top] = (top.removeprefix(modality), f"{top}/{folder}", f"{top}{ending}")
    return [found[top] for top in sorted(found)]


def _whose(name: str, home: str, source: str) -> list[dict[str, Any]]:
    """Patient and path of each file."""
    owner = _field(f"{name}/patient_id", "Whose it is.", "sc:Text", source, fileProperty="fullpath")
    owner["source"]["transform"] = {"regex": OWNER.format(home=home)}
    return [owner, _field(f"{name}/path", "Path of the file.", "sc:Text", source, fileProperty="fullpath")]


def _field(name: str, description: str, kind: str, source: str, **extract: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": name.partition("/")[2],
        "description": description,
        "dataType": kind,
        "source": {"fileSet": {"@id": source}, "extract": dict(extract)},
    }


def _set(name: str, description: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": list(fields),
    }
