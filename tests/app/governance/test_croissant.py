"""The Croissant card of a cohort, read back by mlcroissant: patients, images, signals, resources, assays."""

import json
import warnings
from datetime import date
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polyclinic.app.governance.croissant import croissant, pages
from polyclinic.app.governance.record_sets import spdx
from polyclinic.core.modality import Record
from polyclinic.core.profile import PatientProfile, uid_for
from polyclinic.modalities.imaging.export import ExportOptions
from polyclinic.modalities.imaging.export import export as write_images
from polyclinic.modalities.omics import pieces
from polyclinic.modalities.omics.export import assemble
from polyclinic.modalities.signals.export import ExportOptions as SignalOptions
from polyclinic.modalities.signals.export import export as write_signals

mlc = pytest.importorskip("mlcroissant")
PEOPLE = [PatientProfile(f"PC-{i}", 60.0 + i, "F", index_date=date(2024, 3, 1)) for i in range(3)]
IMAGES = np.random.default_rng(0).integers(0, 4096, (3, 40, 56)).astype(np.uint16)
CERTIFICATE = {
    "weights": [
        {"data": [{"licence": "CC BY 4.0"}, {"licence": "the owner's own"}, {"licence": "CC BY 4.0"}]}
    ],
    "cohort": {"manifest_sha256": "0" * 64},
    "issued": "2026-01-01T00:00:00Z",
    "signed_by": "abc",
    "verdict": {"not_measured": []},
    "policy": {"name": "partner", "about": "tests"},
}


def cohort(folder: Path, compression: str) -> Any:
    """Files of three patients in all formats that have records, and what a card asks of a cohort."""
    for i, person in enumerate(PEOPLE):
        uids = {f"{name}_uid": uid_for(i, name) for name in ("study", "series", "instance")}
        about = {"view": "PA", "body_part": "CHEST", "pixel_spacing_mm": 1.5, "derivation": "noise", **uids}
        options = ExportOptions.model_validate({"compression": compression})
        write_images([Record({"image": IMAGES[i]}, about)], [person], folder, options)
        ecg = np.zeros((12, 500), np.float32)
        write_signals(
            [Record({"ecg": ecg}, uids)], [person], folder, SignalOptions(formats=("wfdb", "dicom", "edf"))
        )
    for assay in ("rna", "meth"):
        (folder / "pieces" / assay).mkdir(parents=True)
    tumours = [
        Record({"rna": np.ones(4, np.float32), "rna_var": np.array(list("ABCD")), "meth": np.ones(2, np.float32),
                "meth_var": np.array(["A", "B"])}, {"pam50": "LumA"}) for _ in PEOPLE
    ]  # fmt: skip
    pieces.write(tumours, PEOPLE, folder / "pieces" / "rna")
    assemble([folder / "pieces" / "rna"], folder)
    (folder / "fhir").mkdir()
    for kind in ("Patient", "Observation"):
        lines = [
            json.dumps({"resourceType": kind, "id": f"{p.patient_id}-{kind}", kind: "x, y"}) for p in PEOPLE
        ]
        (folder / "fhir" / f"{kind}.ndjson").write_text("\n".join(lines) + "\n")
    pq.write_table(pa.table({"patient_id": [p.patient_id for p in PEOPLE]}), folder / "patients.parquet")
    write_images([Record({"image": IMAGES[0]}, about)], PEOPLE[:1], folder / "imaging-skin")  # a second set
    files = [p for p in folder.rglob("*") if p.is_file() and "pieces" not in p.parts]
    manifest = {
        "population": {"name": "tiny"}, "modalities": {"imaging": {}, "omics": {}}, "software": {"polyclinic": "0"},
        "files": {p.relative_to(folder).as_posix(): {"sha256": sha256(p.read_bytes()).hexdigest()} for p in files},
    }  # fmt: skip
    return SimpleNamespace(manifest=manifest, patients=len(PEOPLE), folder=folder)


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # rdflib on itself
@pytest.mark.parametrize("compression", ["none", "j2k"])
def test_every_record_set_is_read_back(tmp_path: Path, compression: str) -> None:
    card = croissant(cohort(tmp_path, compression), CERTIFICATE)
    (tmp_path / "croissant.json").write_text(json.dumps(card))
    described = mlc.Dataset(jsonld=tmp_path / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    assert not described.metadata.ctx.issues.warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = {s["@id"]: list(described.records(s["@id"])) for s in card["recordSet"]}
    assert list(read) == ["patients", "images", "images-skin", "signals", "resources", "assays"]
    assert [row["images-skin/patient_id"] for row in read["images-skin"]] == [b"PC-0"]
    ids = [p.patient_id.encode() for p in PEOPLE]
    assert [row["images/patient_id"] for row in read["images"]] == ids
    np.testing.assert_array_equal([row["images/pixels"] for row in read["images"]], IMAGES)
    assert [row["signals/patient_id"] for row in read["signals"]] == ids
    assert all(row["signals/header"].startswith(b"ecg 12 500 500") for row in read["signals"])
    assert len(read["resources"]) == 6
    assert {row["resources/resourceType"] for row in read["resources"]} == {b"Patient", b"Observation"}
    assert {row["assays/assay"] for row in read["assays"]} == {b"rna", b"meth"}  # text comes as bytes
    for row in read["images"]:
        assert (tmp_path / row["images/path"].decode()).is_file()


def test_licences_are_spdx_where_spdx_lists_them(tmp_path: Path) -> None:
    card = croissant(cohort(tmp_path, "none"), CERTIFICATE)
    assert card["license"] == ["https://spdx.org/licenses/CC-BY-4.0.html", "the owner's own"]
    assert spdx("CC BY-SA 4.0").endswith("/CC-BY-SA-4.0.html")


def test_sets_of_files_cover_every_file_below_a_folder(tmp_path: Path) -> None:
    """By mlcroissant's own matching."""
    from mlcroissant._src.operation_graph.operations.filter import match_path

    made = cohort(tmp_path, "none")
    sets = [f for f in croissant(made, CERTIFICATE)["distribution"] if f["@type"] == "cr:FileSet"]
    patterns = [f["includes"] if isinstance(f["includes"], list) else [f["includes"]] for f in sets]
    below = [Path(path) for path in made.manifest["files"] if "/" in path]
    assert below
    assert all(any(match_path(pattern, path) for pattern in patterns) for path in below)


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_a_changed_table_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    """mlcroissant checks a hash when it reads the file, not when it opens the card."""
    card = croissant(cohort(tmp_path, "none"), CERTIFICATE)
    (tmp_path / "croissant.json").write_text(json.dumps(card))
    pq.write_table(pa.table({"patient_id": ["someone else"]}), tmp_path / "patients.parquet")
    described = mlc.Dataset(jsonld=tmp_path / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    with pytest.raises(Exception, match=r"patients\.parquet"):
        list(described.records("patients"))


def test_names_are_text_in_a_markdown_page() -> None:
    made = pages().from_string("| <b>{{ name }}</b> | {{ 0.5 }} |\n")
    said = made.render(name="<script>alert(1)</script> a|b \x1b[31m")
    assert said == "| <b>&lt;script&gt;alert(1)&lt;/script&gt; a&#124;b \\x1b[31m</b> | 0.5 |\n"
