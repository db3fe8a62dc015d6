"""Changes of matrices and records: AnnData in zarr and HDF5, expression as CSV, FHIR lines, OMOP tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from .case import OTHER, REFUSED, TOLD, Change, Edit
from .changes_files import content, replaced
from .changes_tables import cell, frame

ZARR_META = {
    "shape": ([10**12, 5], [-1, 5], [12], [12, 4], [0, 0], "x", None, [12.5, 5]),
    "data_type": ("complex64", "string", "float8", "", 5, None, "int8"),
    "chunk_grid": ({}, None, {"name": "regular", "configuration": {"chunk_shape": [0, 5]}}, {"name": "odd"}),
    "codecs": ([], None, [{"name": "nosuch"}], "x"),
    "fill_value": (None, "NaN", "x", 1e300),
    "zarr_format": (2, 4, None, "x"),
    "attributes": (
        {},
        None,
        [],
        {"encoding-type": "array", "encoding-version": "9"},
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0"},
    ),
    "node_type": ("group", None, "x"),
}


def of_zarr(store: str) -> list[Change]:
    """Chunks and metadata of X and obs that are lost or lie."""
    name = (Path(store).name,)

    def lost(pattern: str, number: int = 0) -> Edit:
        def edit(home: Path) -> None:
            found = sorted((home / store).glob(pattern))
            assert found, pattern
            replaced(found[number])

        return edit

    def meta(part: str, key: str, value: Any) -> Edit:
        def edit(home: Path) -> None:
            place = home / store / part / "zarr.json"
            said = json.loads(place.read_text())
            said[key] = value
            place.write_text(json.dumps(said))

        return edit

    changes = [
        Change(f"{store}: a chunk of X is lost", REFUSED, lost("X/c/*/*"), name),
        Change(f"{store}: the last chunk of X is lost", REFUSED, lost("X/c/*/*", -1), name),
        Change(f"{store}: all chunks of X are lost", REFUSED, lost("X/c"), name),
        Change(f"{store}: X is lost", REFUSED, lost("X"), name),
        Change(f"{store}: X has no metadata", REFUSED, lost("X/zarr.json"), name),
        Change(f"{store}: obs is lost", REFUSED, lost("obs"), name),
        Change(f"{store}: names of obs are lost", REFUSED, lost("obs/_index/c"), name),
        Change(f"{store}: var is lost", REFUSED, lost("var"), name),
        Change(f"{store}: names of var are lost", REFUSED, lost("var/_index/c"), name),
        Change(f"{store}: no metadata", REFUSED, lost("zarr.json"), name),
        Change(f"{store}: a chunk of X is empty", REFUSED, _chunk(store, lambda b: b""), name),
        Change(f"{store}: a chunk of X is cut", REFUSED, _chunk(store, lambda b: b[:-5]), name),
        Change(
            f"{store}: a chunk of X is noise",
            REFUSED,
            _chunk(store, lambda b: bytes(range(len(b) % 200 + 9))),
            name,
        ),
        Change(f"{store}: a chunk is a device", REFUSED, _device(store), name),
    ]
    return changes + [
        Change(
            f"{store}: {part}: {key} is {value!r:.40}",
            OTHER
            if key in ("fill_value", "attributes")
            or (key, value) in (("data_type", "int8"), ("data_type", "string"))
            else REFUSED,
            meta(part, key, value),
            name,
        )
        for part in ("X", "obs/_index")
        for key, values in ZARR_META.items()
        for value in values
    ]


def _chunk(store: str, change: Callable[[bytes], bytes]) -> Edit:
    def edit(home: Path) -> None:
        place = sorted((home / store).glob("X/c/*/*"))[0]
        place.write_bytes(change(place.read_bytes()))

    return edit


def _device(store: str) -> Edit:
    def edit(home: Path) -> None:
        place = sorted((home / store).glob("X/c/*/*"))[0]
        place.unlink()
        place.symlink_to("/dev/zero")

    return edit


def of_matrix(file: str) -> list[Change]:
    """A matrix of expression as CSV, a row a sample."""
    name = (Path(file).name,)
    kinds: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
        "nobody's": (REFUSED, lambda t: t.assign(sample="z" + t["sample"])),
        "a sample less": (REFUSED, lambda t: t.iloc[1:]),
        "half the samples": (REFUSED, lambda t: t.iloc[::2]),
        "a sample twice": (REFUSED, lambda t: pd.concat([t, t.iloc[:1]])),
        "a sample more": (OTHER, lambda t: pd.concat([t, t.iloc[:1].assign(sample="extra")])),
        "a blank sample": (REFUSED, cell("sample", [2], "")),
        "a word": (REFUSED, cell("TP53", [2], "high")),
        "a missing value": (REFUSED, cell("TP53", [2], "")),
        "NaN": (REFUSED, cell("TP53", [2], "nan")),
        "infinity": (REFUSED, cell("TP53", [2], "inf")),
        "1e300": (REFUSED, cell("TP53", [2], "1e300")),
        "a decimal comma": (REFUSED, cell("TP53", [2], "6,5")),
        "negative": (OTHER, cell("TP53", [2], "-5")),
        "all zero": (OTHER, lambda t: t.assign(TP53="0")),
        "no gene": (REFUSED, lambda t: t[["sample"]]),
        "a gene of escapes": (OTHER, lambda t: t.rename(columns={"TP53": "\x1b[31mTP53"})),
        "a gene of a path": (OTHER, lambda t: t.rename(columns={"TP53": "../../evil"})),
        "a blank gene": (OTHER, lambda t: t.rename(columns={"TP53": ""})),
        "turned": (REFUSED, lambda t: t.set_index("sample").T.reset_index(names="sample")),
    }
    return [
        Change(
            f"{file}: {what}", expect, frame(file, change), () if expect == OTHER else (*name, "rna", "TP53")
        )
        for what, (expect, change) in kinds.items()
    ] + [
        Change(
            f"{file}: a gene twice",
            REFUSED,
            content(file, lambda b: b.replace(b"PGR", b"ESR1")),
            (*name, "ESR1"),
        )
    ]


def of_fhir(folder: str) -> list[Change]:
    """Lines of a bulk export."""

    def line(kind: str, number: int, change: Callable[[dict[str, Any]], Any]) -> Edit:
        def edit(text: bytes) -> bytes:
            rows = text.decode().splitlines()
            rows[number] = json.dumps(change(json.loads(rows[number])))
            return ("\n".join(rows) + "\n").encode()

        return content(f"{folder}/{kind}.ndjson", edit)

    def raw(kind: str, change: Callable[[bytes], bytes]) -> Edit:
        return content(f"{folder}/{kind}.ndjson", change)

    def putting(key: str, value: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda row: {**row, key: value}

    def dropping(key: str) -> Callable[[dict[str, Any]], Any]:
        return lambda row: {k: v for k, v in row.items() if k != key}

    names = {kind: (f"{kind}.ndjson", kind) for kind in ("Patient", "Condition", "Observation")}
    changes = []
    odd: tuple[Any, ...] = (None, 5, "x", [], {}, [1], {"a": 1}, "", True, "\x1b[31m", 10**400, "../../evil")
    keys = {
        "Patient": ("id", "gender", "birthDate", "resourceType"),
        "Condition": ("subject", "code", "onsetDateTime", "verificationStatus"),
        "Observation": ("subject", "code", "status", "valueQuantity", "effectiveDateTime", "component"),
    }
    for kind, some in keys.items():
        for key in some:
            changes += [
                Change(
                    f"{kind}: {key} is {value!r:.16}",
                    OTHER,
                    line(kind, 1 if kind != "Condition" else 0, putting(key, value)),
                    (*names[kind], key),
                )
                for value in odd
            ]
        changes += [
            Change(f"{kind}: a line is cut", REFUSED, raw(kind, lambda b: b[:-30]), names[kind]),
            Change(
                f"{kind}: two lines in one",
                REFUSED,
                raw(kind, lambda b: b.replace(b"}\n{", b"} {", 1)),
                names[kind],
            ),
            Change(f"{kind}: a line is a list", REFUSED, raw(kind, lambda b: b + b"[1]\n"), names[kind]),
            Change(
                f"{kind}: a line is too deep",
                REFUSED,
                raw(kind, lambda b: b + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n"),
                names[kind],
            ),
            Change(
                f"{kind}: a line with five thousand digits",
                REFUSED,
                raw(kind, lambda b: b + b'{"resourceType": "%s", "id": %s}\n' % (b"Patient", b"9" * 5000)),
                names[kind],
            ),
            Change(f"{kind}: a blank line", OTHER, raw(kind, lambda b: b + b"\n\n"), names[kind]),
            Change(
                f"{kind}: NaN",
                OTHER,
                raw(kind, lambda b: b.replace(b'"id":', b'"x": NaN, "id":', 1)),
                names[kind],
            ),
        ]
    return [
        *changes,
        Change(
            "Patient: one twice",
            REFUSED,
            raw("Patient", lambda b: b + b.split(b"\n")[0] + b"\n"),
            names["Patient"],
        ),
        Change(
            "Condition: of nobody",
            TOLD,
            line("Condition", 0, putting("subject", {"reference": "Patient/zz"})),
            names["Condition"],
        ),
        Change(
            "Observation: of nobody",
            TOLD,
            line("Observation", 0, putting("subject", {"reference": "Patient/zz"})),
            names["Observation"],
        ),
        Change(
            "Observation: without a subject",
            TOLD,
            line("Observation", 0, dropping("subject")),
            names["Observation"],
        ),
        Change(
            "Observation: a value of 1e300",
            TOLD,
            line("Observation", 0, putting("valueQuantity", {"value": 1e300})),
            (*names["Observation"], "heart_rate", "observation"),
        ),
        Change(
            "Observation: a value of infinity",
            TOLD,
            raw("Observation", lambda b: b.replace(b'"value": 60', b'"value": Infinity', 1)),
            (*names["Observation"], "heart_rate", "observation"),
        ),
        Change(
            "Observation: a value of 400 digits",
            TOLD,
            raw("Observation", lambda b: b.replace(b'"value": 60', b'"value": ' + b"9" * 400, 1)),
            (*names["Observation"], "heart_rate", "observation"),
        ),
    ]
