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
# whose file it is, by its path: dicom/<patient>/..., wfdb/<patient>/...
OWNER = r"(?:.*/)?{top}/([^/]+)/.*"


def spdx(licence: str) -> str:
    """The licence's page at spdx.org; one that SPDX does not list stays as it is written."""
    return f"https://spdx.org/licenses/{SPDX[licence]}.html" if licence in SPDX else licence


def store_roots(files: Collection[str]) -> list[str]:
    """The metadata of each zarr store of omics, which lists all its arrays."""
    return sorted(path for path in files if re.fullmatch(r"omics/[^/]+\.zarr/zarr\.json", path))


def record_sets(files: Collection[str]) -> Iterator[dict[str, Any]]:
    """A record set for each kind of file that there is and that can be read."""
    kinds = {(PurePosixPath(path).parts[0], PurePosixPath(path).suffix) for path in files if "/" in path}
    if ("dicom", ".dcm") in kinds:
        pixels = _field(
            "images/pixels", "Stored values, row by row.", "sc:Integer", "dicom.dcm", fileProperty="content"
        )
        yield _set("images", "DICOM images.", [*_whose("images", "dicom", "dicom.dcm"), pixels])
    if ("wfdb", ".hea") in kinds:
        header = _field(
            "signals/header", "The header, as text.", "sc:Text", "wfdb.hea", fileProperty="content"
        )
        yield _set("signals", "Headers of WFDB records.", [*_whose("signals", "wfdb", "wfdb.hea"), header])
    if ("fhir", ".ndjson") in kinds:
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


def _whose(name: str, top: str, source: str) -> list[dict[str, Any]]:
    """Patient and path of each file."""
    owner = _field(f"{name}/patient_id", "Whose it is.", "sc:Text", source, fileProperty="fullpath")
    owner["source"]["transform"] = {"regex": OWNER.format(top=top)}
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
