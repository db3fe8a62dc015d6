"""A disk that is full, small, or may not be written: one line, exit code 2, and nothing half-written is left."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polyclinic.app import cli
from polyclinic.app.engines import generation
from polyclinic.conditioning.population import Population
from polyclinic.core.cohort.signing import Signer, new_key
from polyclinic.core.cohort.watermark import Mark
from polyclinic.core.dp.population_identity import key_of
from polyclinic.core.errors import InputError

PLUGIN = Path(__file__).parents[1] / "plugin"
DATASET = {
    "name": "mine",
    "path": ".",
    "table": "patients.csv",
    "fields": {"age": {"column": "years"}, "sex": {"column": "sex", "values": {"w": "F", "m": "M"}}},
}


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake modalities are installed."""
    monkeypatch.syspath_prepend(PLUGIN)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with health records, and a training folder; never changed."""
    place = tmp_path_factory.mktemp("home")
    generation.make(Population.load("icu"), 2, 7, place / "c", modalities=["records"], workers=1)
    (place / "data").mkdir()
    (place / "data" / "dataset.yaml").write_text(json.dumps(DATASET))
    table = "patient_id,split,record,years,sex\na,train,a.png,61,w\nb,test,b.png,70,m\n"
    (place / "data" / "patients.csv").write_text(table)
    return place


def tree(folder: Path) -> dict[str, Any]:
    return {p.relative_to(folder).as_posix(): p.is_dir() or p.read_bytes() for p in folder.rglob("*")}


def in_child(prepare: Callable[[], None], argv: list[str]) -> tuple[int, str]:
    """Exit code and stderr of the command line in a forked process."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        code: Any = 1
        try:
            os.dup2(writer, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            sys.stdout = os.fdopen(1, "w")
            prepare()
            sys.argv = ["polyclinic", *argv]
            cli.main()
        except SystemExit as ended:
            code = ended.code
        finally:
            os._exit(int(code))
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), text


def largest(size: int) -> Callable[[], None]:
    """No file may grow beyond so many bytes: as a disk that fills up while it is written."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return prepare


COMMANDS = {
    "keys": lambda home, out: ["keys", f"{out}/k.pem"],
    "watermark": lambda home, out: ["keys", f"{out}/m.key", "--watermark"],
    "train": lambda home, out: [
        *("train", "fake_notes", "--data", f"{home}/data", "--out", f"{out}/w.safetensors", "--public"),
    ],
    "population": lambda home, out: [
        *("train", "population", "--data", f"{out}/people", "--out", f"{out}/p.safetensors"),
        *("--epsilon", "5", "--delta", "1e-3"),
    ],
    "evaluate": lambda home, out: ["evaluate", f"{home}/c", "--out", f"{out}/e"],
    "omop": lambda home, out: ["convert", f"{home}/c", "--to", "omop", "--out", f"{out}/o"],
    "meds": lambda home, out: ["convert", f"{home}/c", "--to", "meds", "--out", f"{out}/o"],
    "csv": lambda home, out: ["convert", f"{home}/c", "--to", "csv", "--out", f"{out}/o"],
    "bundles": lambda home, out: ["convert", f"{home}/c", "--to", "bundles", "--out", f"{out}/o"],
}


def people(out: Path) -> None:
    """A table of 60 patients."""
    folder = out / "people"
    folder.mkdir()
    (folder / "dataset.yaml").write_text(json.dumps({**DATASET, "options": {"modality": "population"}}))
    rows = (f"p{i},train,x,{40 + i % 40},{'wm'[i % 2]}\n" for i in range(60))
    (folder / "patients.csv").write_text("patient_id,split,record,years,sex\n" + "".join(rows))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_cannot_grow_is_one_line_and_leaves_nothing(
    name: str, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    people(out)
    before, failed = tree(out), 0
    for size in (0, 1, 40, 100, 400, 1500, 6000, 20_000):
        code, said = in_child(largest(size), COMMANDS[name](home, out))
        lines = [line for line in said.splitlines() if "plan:" not in line]
        if code == 0:
            break
        failed += 1
        assert (code, len(lines)) == (2, 1), said
        assert re.search("cannot be written|cannot be read or written", lines[0]), said
        now = tree(out)
        kept = (
            "ledger",
            "p.checkpoints",
            "w.checkpoints",
        )  # what was charged, and what --resume goes on from
        now = {path: what for path, what in now.items() if not path.startswith(kept)}
        assert now == before, f"{size}: {set(now) ^ set(before)}"
        for path in out.glob("ledger*"):
            path.unlink()
        for path in out.glob("*.checkpoints"):
            shutil.rmtree(path)
    assert failed > 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a disk of that size, which goes with the test."""
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    mounted = []

    def make(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no tmpfs here: {done.stderr.decode().strip()}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "population"])
def test_a_full_disk_is_told_before_the_work(
    name: str, home: Path, disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = disk("size=256k")
    with pytest.raises(OSError, match="No space"):
        (place / "filled").write_bytes(bytes(2**20))
    before = {path.name for path in place.rglob("*")}
    monkeypatch.setattr("polyclinic.eval.report.report.comparisons_of", lambda *_: pytest.fail("it began"))
    code, said = in_child(lambda: None, COMMANDS[name](home, place))
    assert (code, len(said.splitlines())) == (2, 1), said
    assert re.search("the disk is (too )?full", said)
    assert {path.name for path in place.rglob("*")} == before


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "population"])
def test_a_disk_that_may_not_be_written_is_told(name: str, home: Path, disk: Callable[[str], Path]) -> None:
    place = disk("size=256k,ro")
    code, said = in_child(lambda: None, COMMANDS[name](home, place))
    assert (code, len(said.splitlines())) == (2, 1), said
    assert "cannot be" in said


def test_a_conversion_into_a_disk_of_its_own_is_whole(home: Path, disk: Callable[[str], Path]) -> None:
    place = disk("size=32m")
    assert in_child(lambda: None, ["convert", f"{home}/c", "--to", "meds", "--out", str(place)])[0] == 0
    assert [path.name for path in place.iterdir()] == ["meds"]


def test_a_report_is_replaced_whole_or_not_at_all(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "e"
    out.mkdir()
    (out / "report.html").write_text("<p>old")
    (out / "scores.json").write_text("{}")
    argv = ["evaluate", f"{home}/c", "--out", str(out), "--overwrite"]
    before = tree(out)
    assert in_child(largest(5000), argv)[0] == 2  # the scores fit, the page does not
    assert tree(out) == before
    assert in_child(lambda: None, argv)[0] == 0
    assert json.loads((out / "scores.json").read_text())["patients"] == 2


def test_a_key_of_a_killed_run_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".k.pem.part").write_bytes(b"")
    public = new_key(tmp_path / "k.pem")
    assert Signer.load(tmp_path / "k.pem").public == public
    assert {path.name for path in tmp_path.iterdir()} == {"k.pem", "k.pem.pub"}
    (tmp_path / "k.pem.pub").unlink()  # as if it was killed between the two
    assert new_key(tmp_path / "k.pem") == public
    assert (tmp_path / "k.pem.pub").exists()


@pytest.mark.parametrize("both", [False, True])
def test_no_second_link_to_a_secret_stays(tmp_path: Path, both: bool) -> None:
    """As a kill leaves it between linking the file and removing its part."""
    key, part, mark = tmp_path / "k.pem", tmp_path / ".k.pem.part", tmp_path / "mark.key"
    new_key(key)
    os.link(key, part)
    if both:
        with pytest.raises(InputError, match="already there"):
            new_key(key)
    else:
        (tmp_path / "k.pem.pub").unlink()
        new_key(key)
    assert not part.exists()
    assert key.stat().st_nlink == 1
    Mark.new(mark)
    os.link(mark, tmp_path / ".mark.key.part")
    with pytest.raises(InputError, match="already there"):
        Mark.new(mark)
    key_of(tmp_path / "ledger.jsonl")
    os.link(tmp_path / "ledger.jsonl.key", tmp_path / ".ledger.jsonl.key.part")
    key_of(tmp_path / "ledger.jsonl", used=True)
    assert not list(tmp_path.glob(".*.part"))
