"""The public API: its walk in one process, every example of its docstrings, and folders of any origin compared."""

import doctest
import json
import multiprocessing
import pickle
import shutil
import time
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch.utils.data import DataLoader

import polyclinic as pc
from polyclinic.core.cohort.signing import new_key

WALK = 60.0  # s of CPU: other tests may run at the same time
NAMES = [name for name in pc.__all__ if not name.startswith("_")]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[pc.Cohort, float, float]:
    """Twenty patients, and the seconds that drawing them took."""
    began, used = time.monotonic(), time.process_time()
    counted: list[tuple[int, ...]] = []
    out = tmp_path_factory.mktemp("api") / "cohort"
    cohort = pc.generate_cohort(
        "cardio_oncology",
        20,
        out=out,
        seed=7,
        workers=1,
        progress=lambda *done: counted.append(done),
    )
    assert counted[0] == (0, 20)
    assert counted[-1] == (20, 20)
    return cohort, time.monotonic() - began, used


@pytest.fixture
def cohort(walked: tuple[pc.Cohort, float, float]) -> pc.Cohort:
    return walked[0]


def test_the_api_is_walked_in_one_process(
    walked: tuple[pc.Cohort, float, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    cohort = pc.open_cohort(walked[0].folder)
    assert len(cohort.patients) == len(cohort) == 20
    assert isinstance(cohort.patients, pd.DataFrame)
    seen = [
        patient
        for batch in DataLoader(cohort.dataset(["image", "ecg"]), batch_size=5, num_workers=2, timeout=120)
        for patient in batch["patient_id"]
    ]
    assert seen == list(cohort.patients.index)
    result = pc.evaluate(cohort, out=tmp_path / "scored", quick=True)
    assert result.report.is_file()
    assert {"view", "metric", "value"} <= set(result.to_frame().columns)
    key = tmp_path / "steward.key"
    new_key(key)
    with pytest.raises(pc.Refused, match="refused by"):  # nobody has approved it
        pc.release(cohort, "partner", key)
    seconds, used = time.monotonic() - began + walked[1], time.process_time() - walked[2]
    with capsys.disabled():
        print(f"\npublic API on 20 patients: {seconds:.1f} s, {used:.1f} s of CPU in this process")
    assert used < WALK


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_dataset_is_read_by_workers(method: str, cohort: pc.Cohort) -> None:
    dataset = cohort.dataset(["ecg", "image"], transform=itemgetter("patient_id", "ecg"))
    loader = DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context=multiprocessing.get_context(method)
    )
    found = [(name, np.asarray(ecg)) for name, ecg in loader]
    assert [name for name, _ in found] == list(dataset.patient_ids)
    alone = pickle.loads(pickle.dumps(dataset))
    for i, (name, ecg) in enumerate(found):
        assert name == alone[i][0]
        np.testing.assert_array_equal(ecg, alone[i][1])


def test_tables_and_arrays_are_those_of_the_records(cohort: pc.Cohort) -> None:
    records = dict(cohort.records("signals"))
    vitals = cohort.vitals()
    first = next(iter(records))
    np.testing.assert_array_equal(vitals.loc[first].to_numpy(), records[first].arrays["vitals"])
    assert list(dict(cohort.ecgs())) == list(records)
    rna = cohort.omics("rna")
    assert list(rna.index) == list(cohort.patients.index[cohort.patients["has_omics"]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.omics("protein"), "no assay 'protein'; expected one of: .*rna"),
        (lambda c: next(c.fhir("Person")), "no FHIR 'Person'; expected one of: .*Patient"),
        (lambda c: c.dataset(["ecg", "eeg"]), "no array 'eeg'"),
        (lambda c: c.dataset([]), "name at least one array"),
        (lambda c: c.modality("genes"), "has no genes; expected one of: imaging"),
        (lambda c: pc.open_cohort(c.folder / "nowhere"), "no cohort there"),
        (lambda c: pc.generate([], patients=3), "leave it out"),
        (
            lambda c: pc.generate_cohort("icu", 0, out=c.folder / "x"),
            r"^patients must be a whole number from 1 to",
        ),
        (
            lambda c: pc.generate_cohort("icu", 2.5, out=c.folder / "x"),
            r"^patients must be a whole number from 1",
        ),
        (
            lambda c: pc.generate_cohort("icu", 2, out=c.folder / "x", seed="a"),
            r"^seed must be a whole number",
        ),
        (
            lambda c: pc.generate_cohort("icu", 2, out=c.folder / "x", modalities="signals"),
            "as \\['signals'\\]",
        ),
        (
            lambda c: pc.generate_cohort("icu", 2, out=c.folder / "x", options={"signals.noise": 1}),
            "{modality: {key",
        ),
        (
            lambda c: pc.generate_cohort("icu", 2, out=c.folder / "x", options="signals.noise=1"),
            "{modality: {key",
        ),
        (
            lambda c: pc.release(c, "internal", c.folder / "no.pem"),
            "no.pem: no such file; expected a key file",
        ),
        (lambda c: pc.compare(c.folder / "no", c.folder, c.folder / "y"), "no: no such folder"),
        (
            lambda c: pc.train("imaging", c.folder, c.folder / "w.safetensors", public=True, max_minutes=-1),
            r"^max_minutes must be a number above 0",
        ),
    ],
)
def test_what_cannot_be_given_is_one_line(call: Any, message: str, cohort: pc.Cohort) -> None:
    with pytest.raises(pc.InputError, match=message) as caught:
        call(cohort)
    assert "\n" not in str(caught.value)


def test_a_single_array_is_named_without_a_list(cohort: pc.Cohort) -> None:
    assert set(cohort.dataset("ecg")[0]) == {"patient_id", "ecg"}


def test_a_report_that_is_there_stays(cohort: pc.Cohort, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(pc.InputError, match="already there; choose another name, or allow it with overwrite"):
        pc.evaluate(cohort, out=tmp_path, quick=True)


# -- examples

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE
HOMES = ("app.api", "app.cohort", "core.registry")


def examples() -> dict[str, doctest.DocTest]:
    """Every example of the public API's docstrings, by name."""
    found = {}
    for home in HOMES:
        module = import_module(f"polyclinic.{home}")
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__):
            if test.examples:
                found[test.name.removeprefix("polyclinic.")] = test
    return found


@pytest.mark.parametrize("name", sorted(examples()))
def test_an_example_does_what_it_says(name: str, cohort: pc.Cohort, tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    shutil.copytree(cohort.folder, folder)
    test = examples()[name]
    test.globs |= {**{n: getattr(pc, n) for n in NAMES}, "folder": folder}
    said: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert not said, "".join(said)


def test_every_function_has_an_example() -> None:
    calls = (
        "generate_cohort",
        "generate",
        "open_cohort",
        "train",
        "evaluate",
        "compare",
        "release",
        "stream",
    )
    methods = ("patients", "images", "ecgs", "vitals", "omics", "fhir", "dataset")
    there = set(examples())
    assert {f"app.api.{name}" for name in calls} <= there
    assert {f"app.cohort.Cohort.{name}" for name in methods} <= there
    assert all(getattr(pc, name).__doc__ for name in NAMES)


# -- two plain folders


def plain(folder: Path, prefix: str, seed: int, split: bool = False) -> Path:
    """Sixty patients with noisy pictures, described by a dataset.yaml."""
    from PIL import Image

    folder.mkdir()
    rng, rows = np.random.default_rng(seed), []
    for i in range(60):
        pixels = np.clip(rng.normal(100 + np.arange(64)[:, None], 25, (64, 64)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"patient_id": f"{prefix}{i:04d}", "record": f"{i}.png", "age": 50 + i % 20})
        if split:
            rows[-1]["split"] = "test" if i % 2 else "train"
    pd.DataFrame(rows).to_csv(folder / "patients.csv", index=False)
    described = {
        "name": folder.name,
        "fields": {"age": {"column": "age"}},
        "options": {"modality": "imaging"},
    }
    if not split:
        described["split"] = None
    (folder / "dataset.yaml").write_text(json.dumps(described))
    return folder


@pytest.mark.parametrize("split", [True, False])
def test_two_folders_of_any_origin_are_compared(split: bool, tmp_path: Path) -> None:
    real, made = plain(tmp_path / "real", "hospital", 1, split), plain(tmp_path / "made", "model", 2)
    found = pc.compare(real, made, tmp_path / "out", quick=True)
    assert found.report.is_file()
    assert (found.to_frame()["status"] == "measured").sum() >= 3
    known = [row["auc"] for row in found.scores["privacy"]["attacks"] if row["auc"] is not None]
    assert bool(known) == split, "nobody says whom the model was trained on where there is no split"


def test_folders_of_two_modalities_are_not_compared(tmp_path: Path) -> None:
    real, made = plain(tmp_path / "real", "h", 1), plain(tmp_path / "made", "m", 2)
    text = (made / "dataset.yaml").read_text().replace("imaging", "omics")
    (made / "dataset.yaml").write_text(text)
    with pytest.raises(pc.InputError, match="expected two folders of one modality"):
        pc.compare(real, made, tmp_path / "out")
