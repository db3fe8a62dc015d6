"""Shards of the manifest: the same files whatever their number, damage in any is named, a check goes on."""

import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyclinic.app.governance.verification import untracked_files
from polyclinic.app.push import source
from polyclinic.core.cohort import damage as damage_module
from polyclinic.core.cohort import file_list, patients_table
from polyclinic.core.cohort.check import check
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.core.pipeline import Patient
from polyclinic.core.profile import PatientProfile

HEADER = {"seed": 0, "patients": 40, "modalities": {"plain": {}}}


class Plain:
    """A file a patient, two thirds of them."""

    name, after, shared, indication = "plain", (), False, "two of three patients"

    def export(self, records, profiles, folder):
        for profile in profiles:
            (folder / "plain" / profile.patient_id).mkdir(parents=True)
            (folder / "plain" / profile.patient_id / "x.txt").write_text(profile.patient_id)

    def read(self, folder, ids):
        paths = {one: folder / "plain" / one / "x.txt" for one in ids}
        return {one: Record({}, {"text": path.read_text()}) for one, path in paths.items() if path.is_file()}


def patient(place):
    conditions = {"I10": place % 2 == 0, **({"E11.9": True} if place > 30 else {})}
    profile = PatientProfile(f"P-{place:03}", age=20.0 + place, conditions=conditions)
    return Patient(profile, {} if place % 3 == 0 else {"plain": Record({}, {})})


def made(folder):
    cohort = Cohort.create(folder, HEADER)
    with cohort.writing():
        for number in reversed(range(cohort.slices)):
            cohort.write_slice(number, [patient(place) for place in cohort.span(number)], [Plain()])
        cohort.finish([Plain()])
    return cohort


@pytest.fixture
def sharded(tmp_path, monkeypatch):
    monkeypatch.setattr(file_list, "SHARD", 7)
    return made(tmp_path / "sharded")


def test_shards_hold_what_one_manifest_holds(sharded, tmp_path, monkeypatch):
    monkeypatch.undo()
    plain, again = made(tmp_path / "plain"), Cohort.open(sharded.folder)
    assert plain.shards == {}
    assert len(again.shards) == -(-len(plain.manifest["files"]) // 7) > 3
    assert list(again.manifest["files"].items()) == list(plain.manifest["files"].items())
    assert len(again.manifest["files"]) == len(plain.manifest["files"])
    assert "plain/P-001/x.txt" in again.manifest["files"]
    assert all(name not in again.manifest["files"] for name in ("", "plain/P-000/x.txt", "zzz"))
    said = json.loads((sharded.folder / "manifest.json").read_text())
    assert (said["format_version"], plain.manifest["format_version"]) == (3, 2)
    assert "files" not in said
    assert again.verify() == untracked_files(again) == []
    assert len(plain.manifest["modalities"]["plain"]["without_record"]) == 14
    for cohort in (plain, again):
        assert cohort.manifest["modalities"]["plain"]["with_record"] == 26
        ids = [p.profile.patient_id for p in cohort.records(Plain())]
        assert ids == [f"P-{place:03}" for place in range(40) if place % 3]
    names = [item.name for item in source._everything(again)]
    assert names[-1] == "manifest.json"
    assert names[-1 - len(again.shards) : -1] == list(again.shards)


def test_a_finished_one_is_resumed_as_it_is(sharded):
    assert Cohort.resume(sharded.folder, HEADER).complete
    with pytest.raises(InputError, match="cannot resume, seed is 0"):
        Cohort.resume(sharded.folder, {**HEADER, "seed": 1})


def test_a_lost_record_is_told(sharded):
    (sharded.folder / "plain" / "P-001" / "x.txt").unlink()
    assert sharded.verify() == ["plain/P-001/x.txt: missing"]
    with pytest.raises(InputError, match="plain of patients that had it are gone: P-001"):
        list(Cohort.open(sharded.folder).read([Plain()]))


@pytest.mark.parametrize("number", range(4))
def test_damage_in_any_shard_is_found_and_named(sharded, number):
    path = sharded.folder / "manifest" / f"{number:05}.json"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    cohort = Cohort.open(sharded.folder)
    assert cohort.verify() == [f"manifest/{number:05}.json: changed since it was written"]
    with pytest.raises(InputError, match=rf"{number:05}.json: changed since it was written"):
        dict(cohort.manifest["files"])
    path.unlink()
    assert cohort.verify() == [f"manifest/{number:05}.json: missing"]


@pytest.mark.parametrize(
    "shards", [{}, [1], [{"path": "../x", "sha256": "", "bytes": 1, "files": 1, "first": ""}]]
)
def test_a_manifest_with_other_shards_is_refused(sharded, shards):
    path = sharded.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shards": shards}))
    with pytest.raises(InputError, match="damaged: shards"):
        Cohort.open(sharded.folder)


def test_the_last_entry_of_a_path_counts_and_order_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(file_list, "SHARD", 5)
    entries = {f"{n:03}": {"sha256": f"{n:064}", "bytes": n} for n in range(33)}
    parts = [{name: entries[name]} for name in random.Random(1).sample(sorted(entries), 33)]
    (tmp_path / "a").mkdir()
    stated = file_list.write(
        tmp_path / "a", [{"007": {"sha256": "x", "bytes": 0}}, *parts], tmp_path / "scratch"
    )
    assert dict(file_list.opened(tmp_path / "a", stated["shards"], tmp_path)) == entries
    assert not (tmp_path / "scratch").exists()


def test_a_check_that_was_stopped_goes_on(sharded, tmp_path, monkeypatch):
    monkeypatch.setattr(damage_module, "BLOCK", 4)
    names = list(sharded.manifest["files"])
    (sharded.folder / names[1]).unlink()
    (sharded.folder / names[-1]).unlink()
    looked, kept, progress = list[str](), damage_module._problem, tmp_path / "progress.json"

    def stopped(folder, name, *about):
        looked.append(name)
        if name == names[9]:
            raise KeyboardInterrupt
        return kept(folder, name, *about)

    monkeypatch.setattr(damage_module, "_problem", stopped)
    with pytest.raises(KeyboardInterrupt):
        sharded.verify(progress)
    assert json.loads(progress.read_text())["done"] == 8
    again = list[str]()
    monkeypatch.setattr(
        damage_module, "_problem", lambda f, name, *a: (again.append(name), kept(f, name, *a))[1]
    )
    assert sharded.verify(progress) == [f"{names[1]}: missing", f"{names[-1]}: missing"]
    assert sorted(set(again) - set(sharded.shards)) == sorted(names[8:])
    assert not progress.exists()


def test_the_progress_of_another_check_is_refused(sharded, tmp_path):
    for text, said in (
        ('{"manifest_sha256": "x", "done": 1, "problems": []}', "another manifest"),
        ("[]", "expected"),
    ):
        (tmp_path / "p").write_text(text)
        with pytest.raises(InputError, match=said):
            check(sharded.folder, sharded.manifest["files"], tmp_path / "p")
        assert (tmp_path / "p").read_text() == text


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_row_groups_do_not_depend_on_the_cuts(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(patients_table, "ROWS", rows)
    people = [patient(place).profile for place in range(40)]

    def written(cut, path):
        parts = [people[start : start + cut] for start in range(0, 40, cut)]
        patients_table.write(path, lambda: (patients_table.columns(p, {"a": [True] * len(p)}) for p in parts))
        return path.read_bytes()

    assert written(3, tmp_path / "a") == written(16, tmp_path / "b") == written(40, tmp_path / "c")
    file = pq.ParquetFile(tmp_path / "a")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [
        min(rows, 40 - begin) for begin in range(0, 40, rows)
    ]
    assert list(patients_table.profiles(tmp_path / "a")) == people
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == ["a", "b", "c"]
