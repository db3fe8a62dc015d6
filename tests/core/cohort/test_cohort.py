"""A cohort on disk: the same bytes however drawn, whole or resumable after any death, checked on demand."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from polyclinic.app.engines import generation as engine
from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort import cohort as cohort_module
from polyclinic.core.cohort import file_list
from polyclinic.core.cohort.cohort import PENDING, Cohort
from polyclinic.core.errors import InputError
from polyclinic.core.pipeline import generate

PLUGIN = Path(__file__).parents[2] / "plugin"
FAKES = ("fake_notes", "fake_table")
PATIENTS = 37  # three slices, the last one short


@pytest.fixture(autouse=True)
def _plugin(monkeypatch):
    """The fake modalities are installed, here and in subprocesses."""
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def population():
    return Population.load("general_ward")


def make(population, out, patients=PATIENTS, seed=7, **settings):
    return engine.make(population, patients, seed, out, modalities=FAKES, **{"workers": 1, **settings})


@pytest.fixture(scope="module")
def whole(tmp_path_factory, population):
    """An uninterrupted run in one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        return make(population, tmp_path_factory.mktemp("whole") / "c").folder


def content(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def header(population, patients=PATIENTS, seed=7):
    return engine.header(population, engine.choose(FAKES), patients, seed, Path("cohort"))


def slices(population, cohort, numbers):
    """Write slices of a cohort without the engine."""
    chosen = engine.choose(FAKES)
    for number in numbers:
        profiles = (population.patient(i, cohort.manifest["seed"]) for i in cohort.span(number))
        drawn = generate(profiles, chosen, ProfileEncoder(), cohort.manifest["seed"])
        cohort.write_slice(number, list(drawn), chosen)


# -- the same bytes


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 5}, {"workers": 2}], ids=str)
def test_same_bytes_whatever_the_batches_and_workers(population, whole, tmp_path, settings):
    made = make(population, tmp_path / "c", **settings)
    assert made.complete
    assert content(made.folder) == content(whole)


def test_same_bytes_whatever_the_order_of_slices(population, whole, tmp_path):
    cohort = Cohort.create(tmp_path / "c", header(population))
    with cohort.writing():
        slices(population, cohort, [2, 0, 1])
        cohort.finish(engine.choose(FAKES))
    assert content(cohort.folder) == content(whole)


def test_another_seed_gives_other_patients(population, whole, tmp_path):
    other = make(population, tmp_path / "c", seed=8)
    notes = [name for name in content(whole) if name.startswith("notes/") and name != "notes/labels.csv"]
    assert notes
    assert content(other.folder).keys().isdisjoint(notes)


# -- death and resumption


def test_death_at_any_file_operation_leaves_a_clean_cohort_that_resumes_to_the_same_bytes(
    population, tmp_path, monkeypatch
):
    """A forked child ends at its first, second, ... operation on a file of the cohort."""
    monkeypatch.setattr(cohort_module, "SLICE", 2)
    monkeypatch.setattr(file_list, "SHARD", 3)  # with runs and shards of the manifest
    out, settings, chosen = tmp_path / "c", header(population, patients=3), engine.choose(FAKES)
    expected = content(make(population, tmp_path / "whole", patients=3).folder)
    operations = 0
    while True:
        operations += 1
        child = os.fork()
        if child == 0:
            _die_at(operations, str(out))
            cohort = Cohort.create(out, settings)
            with cohort.writing():
                slices(population, cohort, cohort.missing())
                cohort.finish(chosen)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            break
        assert os.waitstatus_to_exitcode(status) == 9
        if (out / "manifest.json").exists():
            assert Cohort.open(out).verify() == []
        cohort = Cohort.resume(out, settings)
        if not cohort.complete:
            with cohort.writing():
                slices(population, cohort, cohort.missing())
                cohort.finish(chosen)
        assert content(out) == expected, f"after operation {operations}"
        shutil.rmtree(out)
    assert operations > 35


def _die_at(count, below):
    """End this process, with no clean-up, just before its count-th operation on a file in a folder."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir") and below in str(arguments[0]):
            seen += 1
            if seen == count:
                os._exit(9)

    sys.addaudithook(hook)


def test_sigkill_of_a_run_with_workers(population, whole, tmp_path):
    out = tmp_path / "c"
    command = [
        sys.executable,
        "-m",
        "polyclinic",
        "generate",
        "--cohort",
        "general_ward",
        "--patients",
        str(PATIENTS),
    ]
    command += ["--seed", "7", "--out", str(out), "--modalities", ",".join(FAKES), "--workers", "2"]
    run = subprocess.Popen(command, env={**os.environ, "FAKE_DELAY": "0.1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob(f"{PENDING}/slice-*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    time.sleep(0.5)  # its workers notice and end
    before = content(out)
    time.sleep(0.5)
    assert content(out) == before, "workers outlived their parent"
    assert not Cohort.open(out).complete
    assert Cohort.open(out).verify() == []
    subprocess.run([*command, "--resume"], check=True, capture_output=True)
    assert content(out) == content(whole)


def test_a_full_disk_stops_the_run_and_resume_goes_on(population, whole, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "FAKE_FULL_AFTER", str(20 * 16)
    )  # notes of the first slice and of a part of the second
    with pytest.raises(InputError, match=r"the disk is full; free some space and run again with --resume"):
        make(population, tmp_path / "c")
    left = Cohort.open(tmp_path / "c")
    assert left.verify() == []
    assert left.missing() == [1, 2]
    assert not list((tmp_path / "c" / PENDING).glob("slice-00001*"))
    monkeypatch.delenv("FAKE_FULL_AFTER")
    assert content(make(population, tmp_path / "c", resume=True).folder) == content(whole)


def test_a_run_that_fails_before_its_first_slice_leaves_nothing(population, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FULL_AFTER", "40")
    with pytest.raises(InputError, match="disk is full"):
        make(population, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_resume_writes_damaged_slices_again(population, whole, tmp_path):
    cohort = Cohort.create(tmp_path / "c", header(population))
    with cohort.writing():
        slices(population, cohort, [0, 1])
    next((tmp_path / "c" / "notes").rglob("note.txt")).write_text("lost")
    assert len(cohort.verify()) == 1
    assert cohort.missing() == [0, 2] or cohort.missing() == [1, 2]
    assert content(make(population, tmp_path / "c", resume=True).folder) == content(whole)


def test_resume_of_a_finished_cohort_changes_nothing(population, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "c")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "c").rglob("*")}
    assert make(population, tmp_path / "c", resume=True).complete
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "c").rglob("*")} == times


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 8}, "seed is 7 there and 8 was asked for"),
        ({"patients": 38}, "patients is 37 there and 38 was asked for"),
        ({"weights": {"imaging": "0"}}, "weights.imaging is None there"),
        ({"modalities": {"fake_notes": {}}}, "modalities is"),
        ({"population": {"name": "icu"}}, "population.name is 'general_ward' there"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_resume_with_other_settings_is_refused(population, tmp_path, change, named):
    settings = header(population)
    Cohort.create(tmp_path / "c", settings)
    with pytest.raises(InputError, match=named):
        Cohort.resume(tmp_path / "c", {**settings, **change})


# -- refusals


def test_no_run_overwrites(population, whole, tmp_path):
    with pytest.raises(InputError, match="holds a cohort already"):
        make(population, whole)
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="not empty"):
        make(population, tmp_path)
    assert content(tmp_path) == {"mine.txt": b"keep me"}


def test_two_runs_do_not_write_one_cohort(population, tmp_path):
    cohort = Cohort.create(tmp_path / "c", header(population))
    with cohort.writing(), pytest.raises(InputError, match="another run is writing there"):
        make(population, tmp_path / "c", resume=True)


def test_too_little_room_is_seen_early(population, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"up to 74.00 MB may be needed, 1.00 MB are free"):
        make(population, tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "polyclinic-cohort", "format_version": 99}',
        '{"format": "polyclinic-cohort", "format_version": 1}',
    ],
)
def test_a_foreign_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: "):
        Cohort.open(tmp_path)


def test_an_unfinished_cohort_cannot_be_read(population, tmp_path):
    with pytest.raises(InputError, match="unfinished; complete it with"):
        Cohort.create(tmp_path / "c", header(population)).profiles()


# -- what is there


def test_profiles_and_records_come_back(population, whole):
    cohort, chosen = Cohort.open(whole), engine.choose(FAKES)
    drawn = list(generate(population.draw(PATIENTS, 7), chosen, ProfileEncoder(), 7))
    read = list(cohort.read(chosen, chunk=10))
    assert [p.profile for p in read] == [p.profile for p in drawn]
    assert [set(p.records) for p in read] == [set(p.records) for p in drawn]
    for back, first in zip(read, drawn, strict=True):
        assert (
            back.records["fake_notes"].arrays["bytes"] == first.records["fake_notes"].arrays["bytes"]
        ).all()
    women = [p.profile.patient_id for p in drawn if p.profile.sex == "F"]
    assert [p.profile.patient_id for p in cohort.records(chosen[1])] == women


def test_the_manifest_tells_who_has_no_record_and_why(population, whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    men = [p.patient_id for p in population.draw(PATIENTS, 7) if p.sex == "M"]
    table = manifest["modalities"]["fake_table"]
    assert men
    assert table["without_record"] == men
    assert table["with_record"] == PATIENTS - len(men)
    assert table["indication"] == "women have a row"
    assert manifest["synthetic"] is True
    assert set(manifest["files"]) == set(content(whole)) - {"manifest.json"}
    assert list(manifest["files"]) == sorted(manifest["files"])


def test_verify_finds_one_changed_byte_and_one_lost_file(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "c")
    cohort = Cohort.open(tmp_path / "c")
    assert cohort.verify() == []
    first, second = [p for p in cohort.manifest["files"] if p.endswith("note.txt")][:2]
    raw = bytearray((cohort.folder / first).read_bytes())
    raw[3] ^= 1
    (cohort.folder / first).write_bytes(raw)
    (cohort.folder / second).unlink()
    assert cohort.verify() == [f"{first}: changed since it was written", f"{second}: missing"]


def test_a_slice_is_sixteen_patients():
    assert cohort_module.SLICE == 16


def test_an_unknown_engine_is_one_line_and_nothing_is_written(population, tmp_path):
    with pytest.raises(InputError, match="engine 'nosuch' is not installed; expected one of: local"):
        engine.make(population, 2, 0, tmp_path / "c", modalities=FAKES, engine="nosuch")
    assert not (tmp_path / "c").exists()


def test_records_that_are_gone_are_told_and_never_left_out(whole, tmp_path):
    """Of the file of one patient and of a store that all share; those who never had a record are no loss."""
    shutil.copytree(whole, tmp_path / "c")
    cohort = Cohort.open(tmp_path / "c")
    notes = engine.choose(["fake_notes"])
    assert len(list(cohort.read(notes))) == PATIENTS
    lost = next((tmp_path / "c" / "notes").iterdir())
    shutil.rmtree(lost)
    with pytest.raises(InputError, match=f"fake_notes of patients that had it are gone: {lost.name}"):
        list(cohort.records(notes[0]))
    with pytest.raises(InputError, match=r"2 of \d+ files are not as they were written: notes/.*: missing"):
        cohort.require_files()
