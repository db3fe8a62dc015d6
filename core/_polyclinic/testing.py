"""check_modality(): the test that every modality passes, ours and others'; call it from a test of your own."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .conditioning.encoder import ProfileEncoder
from .conditioning.population import Population
from .core.errors import InputError
from .core.modality import Modality, Record, in_order
from .core.pipeline import generate
from .core.profile import PatientProfile
from .core.registry import lacks, load_modality

TOLERANCE = 0.0051  # by which a number may differ when it is read back: half a step of 0.01
HARD = (
    PatientProfile("nobody-known"),
    PatientProfile("oldest", age=110.0, sex="M", measurements={"heart_rate": 200.0}),
    PatientProfile("newborn", age=0.0, sex="F", height=50.0, weight=3.0),
    PatientProfile(
        "everything", age=60.0, sex="F", height=160.0, weight=70.0,
        conditions={"C50.919": True, "I48.91": True, "J90": True, "A41.9": True},
        measurements={"heart_rate": 34.0, "temperature": 30.0}, traits={"chest_view": "AP"},
    ),
)  # fmt: skip
Drawn = dict[str, Record]  # by patient id


def check_modality(
    modality: Modality, folder: Path, profiles: Sequence[PatientProfile] | None = None, seed: int = 3
) -> None:
    """Raise AssertionError, which says what is wrong, unless a modality keeps its contract.

    Checked are: the methods; options; that a record depends on its own profile and seed alone, not on companions,
    order or batch size; plain facts; export, assembly in one or two pieces and reading back, with the ids; the same
    bytes twice; the features of views, finite and a row a record. Files are written below `folder`, an empty
    one. `profiles` are seven of the cohort cardio_oncology by default. Modalities named in `after` must be installed.
    """
    people = tuple(profiles or Population.load("cardio_oncology").draw(7, seed=3))
    problems = lacks(modality, Modality)
    assert not problems, f"{modality!r}: {'; '.join(problems)}"
    _check_options(modality)
    drawn = _draw(modality, people, seed, 16)
    indicated = [p for p in people if modality.indicated(p)]
    assert list(drawn) == [p.patient_id for p in indicated], (
        "a record for each indicated patient, for no other"
    )
    _check_records(drawn)
    for how, companions, size in (
        ("alone", people, 1), ("in threes", people, 3), ("in another order", people[::-1], 16),
        ("among others", (*HARD, *people), 16),
    ):  # fmt: skip
        again = _draw(modality, companions, seed, size)
        for patient, record in drawn.items():
            assert same(record, again[patient]), f"the record of {patient} is another one when drawn {how}"
    if any(record.arrays for record in drawn.values()):
        other = _draw(modality, people, seed + 1, 16)
        assert any(not same(drawn[p], other[p]) for p in drawn), "another seed gives the same records"
    _check_files(modality, drawn, indicated, folder)
    _check_views(modality, list(drawn.values()))


def same(a: Record, b: Record) -> bool:
    """Whether two records have equal arrays, NaN included, and equal facts."""
    return (
        a.arrays.keys() == b.arrays.keys()
        and a.facts == b.facts
        and all(
            np.array_equal(a.arrays[n], b.arrays[n], equal_nan=a.arrays[n].dtype.kind == "f")
            for n in a.arrays
        )
    )


def _draw(modality: Modality, profiles: Sequence[PatientProfile], seed: int, size: int) -> Drawn:
    """Records of the modality, drawn after those whose facts it reads."""
    chosen, waiting = {modality.name: modality}, list(modality.after)
    while waiting:
        name = waiting.pop()
        if name not in chosen:
            chosen[name] = load_modality(name)
            waiting += chosen[name].after
    patients = generate(profiles, in_order(list(chosen.values())), ProfileEncoder(), seed, size)
    return {p.profile.patient_id: p.records[modality.name] for p in patients if modality.name in p.records}


def _check_options(modality: Modality) -> None:
    try:
        type(modality)({"no_such_option": 1})  # type: ignore[call-arg]
    except (InputError, TypeError):  # it knows its options, or takes none
        return
    raise AssertionError("an unknown option is accepted; expected InputError")


def _check_records(drawn: Drawn) -> None:
    for patient, record in drawn.items():
        for name, array in record.arrays.items():
            assert isinstance(array, np.ndarray), (
                f"{name} of {patient} is {type(array).__name__}, not an array"
            )
            assert array.dtype.kind in "biufUS", f"{name} of {patient} has dtype {array.dtype}"
        try:
            json.dumps(dict(record.facts))
        except TypeError as error:
            raise AssertionError(f"facts of {patient} are not plain JSON types: {error}") from None


def _check_files(modality: Modality, drawn: Drawn, people: Sequence[PatientProfile], folder: Path) -> None:
    half = len(people) // 2
    whole = _written(modality, drawn, [people], folder / "whole")
    again = _written(modality, drawn, [people], folder / "again")
    assert _bytes(whole) == _bytes(again), "the same records give other bytes when they are written twice"
    parts = [part for part in (people[:half], people[half:]) if part]
    for place in (whole, _written(modality, drawn, parts, folder / "parts")):
        back = modality.read(place, [*drawn, "nobody"])
        assert back.keys() == drawn.keys(), f"read() gives {sorted(back)}, written were {sorted(drawn)}"
        for patient, record in drawn.items():
            for name, array in record.arrays.items():
                read = back[patient].arrays.get(name)
                assert read is not None, f"{name} of {patient} does not come back"
                assert read.shape == array.shape, (
                    f"{name} of {patient}: shape {read.shape}, was {array.shape}"
                )
                equal = array.dtype.kind in "US" and bool((read == array).all())
                assert equal or np.allclose(read, array, rtol=1e-7, atol=TOLERANCE, equal_nan=True), (
                    f"{name} of {patient} comes back with other values"
                )


def _written(
    modality: Modality, drawn: Drawn, parts: Sequence[Sequence[PatientProfile]], folder: Path
) -> Path:
    """A cohort's files below folder, exported in these parts."""
    place = folder / "cohort"
    place.mkdir(parents=True)
    pieces = []
    for number, people in enumerate(parts):
        pieces.append(folder / f"piece-{number}" if modality.shared else place)
        pieces[-1].mkdir(exist_ok=True)
        paths = modality.export([drawn[p.patient_id] for p in people], people, pieces[-1])
        assert paths, "export() names no path"
        for path in paths:
            assert path.exists(), f"export() names {path}, which is not there"
            assert path.is_relative_to(pieces[-1]), f"export() wrote {path}, outside of {pieces[-1]}"
    if modality.shared:
        assert modality.assemble(pieces, place), "a shared modality must name the files that it has joined"
    return place


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _check_views(modality: Modality, records: Sequence[Record]) -> None:
    for view in modality.views():
        own = [record for record in records if view.needs in record.arrays]
        if not own:
            continue
        features = view.features(own)
        assert len(features) == len(own), f"view {view.name}: {len(features)} rows of {len(own)} records"
        assert not features.columns.duplicated().any(), f"view {view.name}: features share a name"
        assert np.isfinite(features.to_numpy(np.float64)).all(), f"view {view.name}: features are not finite"
