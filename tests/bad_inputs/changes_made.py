"""Changes of what commands made: weights and cards, manifests, ledgers and journals, keys, checkpoints."""

import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from .case import HARMLESS, OTHER, REFUSED, TOLD, Change, Edit
from .changes_files import content, replaced

CARD: dict[str, tuple[Any, ...]] = {
    "name": ("../../evil", "a\x1b[31m", "[bold]x[/bold]", "", None, 5),
    "modality": ("nosuch", "", None, "../x"),
    "epsilon": (-1, 0, float("nan"), float("inf"), 1e300, "x", True),
    "delta": (-1, 2, float("nan"), float("inf"), "x"),
    "steps": (-1, 1e300, float("nan"), "x", None, 10**400),
    "planned_steps": (-5, "x"),
    "seconds": (-1, float("nan"), float("inf")),
    "columns": ([], ["nosuch"], "x", None, [5], ["age"]),
    "model": ({}, None, "x", {"kind": "nosuch"}, {"hours": -1}, {"hours": 10**9}),
    "figures": ({"x": float("nan")}, {"x": "y"}, None),
    "data": (
        [],
        None,
        "x",
        [{}],
        [{"name": "../../evil", "licence": "[red]x", "rows": -1, "patients": -1, "privacy": "public"}],
    ),
    "declared": ({"../../evil": {"kind": "flag", "label": "x"}}, {"x": {}}, None),
    "kind": ("nosuch", "", None),
    "privacy": ("", None, "\x1b[31m"),
    "unknown_key_xyz": (1,),
}
MUST = {  # values of a card that nothing may take
    "epsilon": (-1, float("nan"), float("inf"), "x"),
    "delta": (-1, 2, float("nan"), float("inf"), "x"),
    "steps": (-1, "x", None),
    "planned_steps": (-5, "x"),
    "seconds": (-1, float("nan"), float("inf")),
    "data": (None, "x", [{}]),
    "unknown_key_xyz": (1,),
    "model": (None, "x"),
    "kind": (None,),
    "privacy": (None,),
}
Tensors = dict[str, Any]
NOWHERE = "a_module_of_nowhere"


def of_weights(file: str, deep: bool = True) -> list[Change]:
    """Header, card and, where `deep`, tensors of a safetensors file."""
    name = (Path(file).name, Path(file).stem)

    def header(change: Callable[[dict[str, Any]], Any]) -> Edit:
        def edit(content_: bytes) -> bytes:
            (length,) = struct.unpack("<Q", content_[:8])
            said = change(json.loads(content_[8 : 8 + length]))
            packed = json.dumps(said).encode()
            packed += b" " * (-len(packed) % 8)
            return struct.pack("<Q", len(packed)) + packed + content_[8 + length :]

        return content(file, edit)

    def card(key: str, value: Any) -> Edit:
        def change(said: dict[str, Any]) -> dict[str, Any]:
            own = {**json.loads(said["__metadata__"]["polyclinic"]), key: value}
            return {**said, "__metadata__": {"polyclinic": json.dumps(own)}}

        return header(change)

    def first(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Edit:
        def edit(said: dict[str, Any]) -> dict[str, Any]:
            key = next(k for k in said if k != "__metadata__")
            return {**said, key: change(said[key])}

        return header(edit)

    def tensors(change: Callable[[Tensors], Tensors]) -> Edit:
        def edit(home: Path) -> None:
            from safetensors.torch import save_file

            from polyclinic.core.training.weights import load

            found = load(home / file)
            save_file(change(dict(found.tensors)), home / file, {"polyclinic": found.card.model_dump_json()})

        return edit

    changes = (
        [
            Change(
                f"{file}: card: {key} is {value!r:.30}",
                REFUSED
                if any(value is v or value == v for v in MUST.get(key, ())) and not isinstance(value, bool)
                else OTHER,
                card(key, value),
                (*name, key),
            )
            for key, values in CARD.items()
            for value in values
        ]
        + [
            Change(
                f"{file}: header of {length} bytes",
                REFUSED,
                content(file, lambda b, n=length: struct.pack("<Q", n) + b[8:]),
                name,
            )  # type: ignore[misc]
            for length in (0, 1, 2**62, 2**64 - 1, 9_999_999)
        ]
        + [
            Change(
                f"{file}: no card",
                REFUSED,
                header(lambda said: {k: v for k, v in said.items() if k != "__metadata__"}),
                name,
            ),
            Change(
                f"{file}: a card that is a list",
                REFUSED,
                header(lambda said: {**said, "__metadata__": {"polyclinic": "[]"}}),
                name,
            ),
            Change(
                f"{file}: metadata of a word",
                REFUSED,
                header(lambda said: {**said, "__metadata__": "x"}),
                name,
            ),
            Change(f"{file}: header a list", REFUSED, header(lambda said: [said]), name),
            Change(
                f"{file}: a card too deep",
                REFUSED,
                header(lambda said: {**said, "__metadata__": {"polyclinic": "[" * 100_000}}),
                name,
            ),
        ]
    )
    if not deep:
        return changes
    changes += [
        Change(
            f"{file}: a tensor beyond the end",
            REFUSED,
            first(lambda t: {**t, "data_offsets": [0, 10**12]}),
            name,
        ),
        Change(
            f"{file}: a tensor of another shape",
            REFUSED,
            first(lambda t: {**t, "shape": [10**9, 10**9]}),
            name,
        ),
        Change(f"{file}: a tensor of an unknown type", REFUSED, first(lambda t: {**t, "dtype": "X9"}), name),
        Change(
            f"{file}: a tensor without a shape",
            REFUSED,
            first(lambda t: {k: v for k, v in t.items() if k != "shape"}),
            name,
        ),
        Change(
            f"{file}: tensors are NaN",
            REFUSED,
            tensors(lambda all_: {k: v * float("nan") for k, v in all_.items()}),
            name,
        ),
        Change(f"{file}: one number is NaN", REFUSED, tensors(_one_nan), name),
        Change(
            f"{file}: tensors are infinite",
            REFUSED,
            tensors(lambda all_: {k: v * 0 + float("inf") for k, v in all_.items()}),
            name,
        ),
        Change(
            f"{file}: tensors are zero",
            REFUSED,
            tensors(lambda all_: {k: v * 0 for k, v in all_.items()}),
            name,
        ),
        Change(
            f"{file}: no tensor",
            REFUSED,
            tensors(lambda all_: {"x": next(iter(all_.values()))[:1].clone()}),
            name,
        ),
        Change(f"{file}: a tensor less", REFUSED, tensors(lambda all_: dict(list(all_.items())[1:])), name),
        Change(
            f"{file}: tensors turned",
            OTHER,  # square ones fit as they are
            tensors(lambda all_: {k: v.T.contiguous() if v.ndim == 2 else v for k, v in all_.items()}),
            name,
        ),
        Change(f"{file}: tensors are rows longer", REFUSED, tensors(_longer), name),
        Change(f"{file}: other data behind", REFUSED, content(file, lambda b: b + b"more"), name),
    ]
    return changes


def _one_nan(tensors: Tensors) -> Tensors:
    key = max(tensors, key=lambda k: tensors[k].numel())
    changed = tensors[key].clone()
    changed.view(-1)[3] = float("nan")
    return {**tensors, key: changed}


def _longer(tensors: Tensors) -> Tensors:
    import torch

    return {k: torch.cat([v, v[:1]]) if v.ndim else v for k, v in tensors.items()}


MANIFEST: dict[str, tuple[Any, ...]] = {
    "patients": (-1, 0, 10**9, 1e300, "x", None, [], 2.5),
    "seed": (-1, 10**400, "x", None),
    "status": ("", "done", None, 5, "incomplete"),
    "format": ("", None, 5),
    "format_version": (0, 99, "2", None, float("nan")),
    "files": ({}, None, [], "x", {"x": None}, {"x": {}}),
    "modalities": ({}, None, [], "x", {"nosuch": {}}, {"../../evil": {}}, {"signals": None}),
    "population": ({}, None, "x", 5),
    "weights": ({}, None, "x", {"vitals": None}),
    "synthetic": (False, None),
    "watermark": ({}, "x", {"key": "../../evil"}),
    "use": ({"vitals": "/dev/zero"}, "x", {"vitals": None}, {"../x": "y"}),
    "draw": ({}, "x", {"resampled": "x"}),
    "labels": (["../../evil"], "x", 5),
}
NAMES = (
    "../../evil",
    "../outside.txt",
    "/etc/hostname",
    "/dev/zero",
    "..",
    ".",
    "",
    "c/../../outside.txt",
    "x" * 300,
    "a\0b",
    "a\x1b[31m",
    "[bold]a[/bold]",
)


def of_manifest(folder: str) -> list[Change]:
    """Keys of a cohort's manifest by odd values, and names of files that lead out of it."""
    file = f"{folder}/manifest.json"

    def put(key: str, value: Any) -> Edit:
        return _json(file, lambda said: {**said, key: value})

    def drop(key: str) -> Edit:
        return _json(file, lambda said: {k: v for k, v in said.items() if k != key})

    def named(name: str) -> Edit:
        entry = _json(
            file, lambda said: {**said, "files": {**said["files"], name: {"sha256": "0" * 64, "bytes": 3}}}
        )

        def edit(home: Path) -> None:
            (home / "outside.txt").write_text("abc")
            (home.parent.parent / "evil").write_text("abc")
            entry(home)

        return edit

    return (
        [
            Change(f"{file}: {key} is {value!r:.30}", OTHER, put(key, value))
            for key, values in MANIFEST.items()
            for value in values
        ]
        + [Change(f"{file}: without {key}", OTHER, drop(key)) for key in MANIFEST]
        + [Change(f"{file}: names the file {name!r:.24}", OTHER, named(name)) for name in NAMES]
        + [
            Change(f"{folder}: a file is {what}", OTHER, _other_file(folder, how))
            for what, how in (
                ("a link out of it", _linked),
                ("a named pipe", _piped),
                ("a device", _device),
                ("a folder", _folder),
                ("lost", replaced),
                ("empty", lambda p: p.write_bytes(b"")),
            )
        ]
    )


def _json(file: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Edit:
    def edit(home: Path) -> None:
        place = home / file
        place.write_text(json.dumps(change(json.loads(place.read_text())), indent=1) + "\n")

    return edit


def _other_file(folder: str, how: Callable[[Path], Any]) -> Edit:
    def edit(home: Path) -> None:
        said = json.loads((home / folder / "manifest.json").read_text())
        names = sorted(name for name in said["files"] if name != "patients.parquet" and "empty" not in name)
        how(home / folder / names[0])

    return edit


def _linked(path: Path) -> None:
    outside = path.parents[len(path.parts) - 2] if False else Path(os.devnull)
    path.unlink()
    path.symlink_to(outside)


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_chain(file: str, refused: str = REFUSED) -> list[Change]:
    """Lines of a ledger or a journal."""
    name = (Path(file).name, Path(file).stem)

    def lines(change: Callable[[list[bytes]], list[bytes]]) -> Edit:
        return content(
            file, lambda b: b"".join(line + b"\n" for line in change(b.rstrip(b"\n").split(b"\n")))
        )

    def value(key: str, new: str) -> Edit:
        def change(rows: list[bytes]) -> list[bytes]:
            said = json.loads(rows[0])
            return [json.dumps({**said, key: json.loads(new)}).encode(), *rows[1:]]

        return lines(change)

    texts = {
        "the first line gone": lambda rows: rows[1:],
        "the last line gone": lambda rows: rows[:-1],
        "lines turned": lambda rows: rows[::-1],
        "a line twice": lambda rows: [*rows, rows[-1]],
        "a blank line": lambda rows: [*rows, b""],
        "a word": lambda rows: [*rows, b"hello"],
        "a list": lambda rows: [*rows, b"[1]"],
        "a line too deep": lambda rows: [*rows, b"[" * 100_000],
        "digits": lambda rows: [*rows, b'{"a": ' + b"9" * 5000 + b"}"],
        "bytes": lambda rows: [*rows, b"\xff\xfe"],
        "an empty mapping": lambda rows: [*rows, b"{}"],
    }
    changes = [Change(f"{file}: {what}", refused, lines(change), name) for what, change in texts.items()]  # type: ignore[arg-type]
    changes += [
        Change(f"{file}: {key} is {new[:12]}", refused, value(key, new), name)
        for key, new in (
            ("population", '"x."'),
            ("steps", "-5"),
            ("epsilon_rdp", "0"),
            ("patients", "NaN"),
            ("time", '"x"'),
            ("previous", '"x"'),
            ("event", '"x"'),
            ("delta", "1e300"),
            ("noise_multiplier", "1e300"),
            ("purpose", '"\\u001b[31m"'),
        )
    ]
    return [
        *changes,
        Change(f"{file}: the last line is torn", TOLD, content(file, lambda b: b + b'{"half": '), name),
        Change(f"{file}: CRLF", refused, content(file, lambda b: b.replace(b"\n", b"\r\n")), name),
    ]


def of_key(file: str) -> list[Change]:
    """A private key that is none."""
    name = (Path(file).name, "key")
    texts = {
        "text": b"hello\n",
        "an empty PEM": b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        "a PEM of noise": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "hex": b"0" * 64,
        "short": b"00",
        "of RSA": b"-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n",
        "megabytes": b"x" * 5_000_000,
    }
    return [
        Change(f"{file} is {what}", REFUSED, content(file, lambda _, t=text: t), name)
        for what, text in texts.items()
    ]  # type: ignore[misc]


def _of_nowhere() -> object:
    """Of a class whose module exists in this process alone: a loader that looks it up elsewhere fails."""
    module = sys.modules.setdefault(NOWHERE, ModuleType(NOWHERE))
    kind = module.__dict__.setdefault("Thing", type("Thing", (), {"__module__": NOWHERE}))
    return kind()


def of_checkpoint(file: str) -> list[Change]:
    """A checkpoint that is damaged, of another model, or holds code: set aside and told, or refused."""
    import pickle

    name = (Path(file).name, "checkpoint")

    def saved(make: Callable[[dict[str, Any]], Any]) -> Edit:
        def edit(home: Path) -> None:
            import torch

            state = torch.load(home / file, weights_only=False)
            torch.save(make(state), home / file)

        return edit

    bytes_ = {
        "empty": b"",
        "a word": b"hello",
        "zeros": bytes(2000),
        "code": pickle.dumps(_of_nowhere()),
        "a bare pickle": pickle.dumps({"state_dict": {}}),
    }
    return [
        *(
            Change(f"{file} is {what}", TOLD, content(file, lambda _, t=text: t), name)
            for what, text in bytes_.items()
        ),  # type: ignore[misc]
        Change(f"{file} is cut", TOLD, content(file, lambda b: b[: len(b) // 2]), name),
        Change(f"{file} lacks its last bytes", TOLD, content(file, lambda b: b[:-30]), name),
        Change(
            f"{file} is flipped",
            TOLD,
            content(file, lambda b: b[:3000] + bytes(x ^ 255 for x in b[3000:3200]) + b[3200:]),
            name,
        ),
        Change(f"{file} has code inside", TOLD, saved(lambda s: {**s, "of_nowhere": _of_nowhere()}), name),
        Change(f"{file} is a list", TOLD, saved(lambda s: [s]), name),
        Change(
            f"{file} has no weights",
            TOLD,
            saved(lambda s: {k: v for k, v in s.items() if k != "state_dict"}),
            name,
        ),
        Change(
            f"{file} has no optimiser",
            TOLD,
            saved(lambda s: {k: v for k, v in s.items() if k != "optimizer_states"}),
            name,
        ),
        Change(
            f"{file} has NaN weights",
            TOLD,
            saved(lambda s: {**s, "state_dict": {k: v * float("nan") for k, v in s["state_dict"].items()}}),
            name,
        ),
        Change(
            f"{file} has other shapes",
            TOLD,
            saved(lambda s: {**s, "state_dict": {k: v.reshape(-1)[:1] for k, v in s["state_dict"].items()}}),
            name,
        ),
        Change(
            f"{file} is of a step beyond the end", OTHER, saved(lambda s: {**s, "global_step": 10**9}), name
        ),
        Change(
            f"{file} has no callbacks",
            TOLD,
            saved(lambda s: {k: v for k, v in s.items() if k != "callbacks"}),
            name,
        ),
        Change(
            "the folder of checkpoints is gone", HARMLESS, lambda home: replaced(home / Path(file).parts[0])
        ),
    ]
