"""The command line: what it says and does, and one line and exit code 2 for every input that is wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from polyclinic import __version__
from polyclinic.app import cli, terminal
from polyclinic.app.results import Evaluation
from polyclinic.core import progress
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.dp.budget import Budget, PrivacyPlan
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.training import weights

PLUGIN = Path(__file__).parents[1] / "plugin"


@pytest.fixture(autouse=True)
def _plugin(monkeypatch):
    """The fake modalities are installed."""
    monkeypatch.syspath_prepend(PLUGIN)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; (exit code, stdout, stderr)."""

    def call(*argv):
        monkeypatch.setattr(sys, "argv", ["polyclinic", *map(str, argv)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.is_dir() or p.read_bytes() for p in folder.rglob("*")}


# -- training folders and cohort files that are wrong in one way each

GOOD = {
    "name": "mine",
    "path": ".",
    "table": "patients.csv",
    "fields": {"age": {"column": "years"}, "sex": {"column": "sex", "values": {"w": "F", "m": "M"}}},
}
TABLE = "patient_id,split,record,years,sex\na,train,a.png,61,w\nb,test,b.png,70,m\n"


def folder(home, table=TABLE, text=None, **changes):
    """A training folder `home`/data."""
    data = home / "data"
    data.mkdir()
    if table is not None:
        (data / "patients.csv").write_text(table)
    (data / "dataset.yaml").write_text(text if text is not None else json.dumps({**GOOD, **changes}))
    return data


def training(home, *options, modality="fake_notes", **changes):
    """Arguments that train on such a folder."""
    data = folder(home, **changes)
    return ["train", modality, "--data", data, "--out", home / "w.safetensors", *(options or ["--public"])]


COHORT = """
name: mine
index_date: {first: 2024-01-01, last: 2024-12-31}
age: {mean: 60, sd: 10}
"""


def drawing(home, text=COHORT, **options):
    """Arguments that draw from such a cohort file."""
    (home / "cohort.yaml").write_text(text)
    settings = {"cohort": home / "cohort.yaml", "patients": 3, "out": home / "c", **options}
    settings.setdefault("modalities", "fake_notes")
    return ["generate", *(part for key, value in settings.items() for part in (f"--{key}", value))]


def with_file(home, argv, name, content=b""):
    """The same arguments, with a file there."""
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_bytes(content)
    return argv


def broken_ledger(home):
    book = Ledger(home / "ledger.jsonl")
    plan = PrivacyPlan(100, 0.1, 1.0, 10, 1e-3, 1.0)
    book.charge_all("mine", {"first": plan}, None)
    book.charge_all("mine", {"second": replace(plan, steps=20)}, None)
    book.path.write_text(book.path.read_text().splitlines()[1] + "\n")
    return ["ledger", book.path]


def finished(home):
    argv = unfinished(home)
    path = home / "c" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "complete", "files": {}}))
    return argv


def unfinished(home):
    header = {"seed": 1, "patients": 3, "modalities": {"fake_notes": {}}}
    with Cohort.create(home / "c", header).writing():
        return ["evaluate", home / "c", "--out", home / "r"]


NOWHERE = "/proc/nowhere"  # where not even root can write

BAD = {
    # generate: the cohort file
    "cohort name": (
        lambda h: drawing(h, cohort="cardiology"),
        "no cohort named 'cardiology'; expected one of adults, cardio_oncology",
    ),
    "cohort file missing": (lambda h: drawing(h, cohort=h / "x.yaml"), r"x\.yaml: no such file"),
    "cohort YAML malformed": (lambda h: drawing(h, "name: [1"), r"cohort\.yaml: not valid YAML"),
    "cohort YAML a list": (lambda h: drawing(h, "- 1"), "expected a mapping of settings, got list"),
    "cohort YAML binary": (
        lambda h: with_file(h, drawing(h, cohort=h / "b.yaml"), "b.yaml", b"\xff\x00"),
        r"b\.yaml: cannot be read as YAML",
    ),
    "unknown key": (
        lambda h: drawing(h, COHORT + "wommen: 0.3"),
        "unknown key 'wommen'; the nearest known one is 'women'",
    ),
    "unknown nested key": (
        lambda h: drawing(h, COHORT.replace("sd:", "lowe: 20, sd:")),
        "unknown key 'age.lowe'.*'low'",
    ),
    "unknown code": (
        lambda h: drawing(h, COHORT + "conditions: {J18.99: 0.1}"),
        r"unknown field or code 'J18\.99'; declare it there: `declare: \{J18\.99",
    ),
    "prevalence in words": (
        lambda h: drawing(h, COHORT + "conditions: {J18.9: half}"),
        r"conditions\.J18\.9: expected a share from 0 to 1, or a mapping with one, got 'half'",
    ),
    "prevalence without a share": (
        lambda h: drawing(h, COHORT + "conditions: {J18.9: {men: 2}}"),
        r"conditions\.J18\.9\.share: expected a value, got none",
    ),
    "unknown key in place of a needed one": (
        lambda h: drawing(h, COHORT + "conditions: {J18.9: {shaer: 0.5}}"),
        r"unknown key 'conditions\.J18\.9\.shaer'; the nearest known one is 'share'",
    ),
    "age of 300 in a cohort": (lambda h: drawing(h, COHORT.replace("60", "300")), "age.*300"),
    "NaN in a cohort": (lambda h: drawing(h, COHORT.replace("60", ".nan")), "age.*nan"),
    # generate: the numbers
    "negative patients": (lambda h: drawing(h, patients=-3), "--patients must be a whole number from 1 to"),
    "no patients": (lambda h: drawing(h, patients=0), "--patients must be a whole number from 1 to"),
    "patients not a number": (
        lambda h: drawing(h, patients="many"),
        "polyclinic: --patients: expected a whole number, got 'many'",
    ),
    "epsilon not a number": (
        lambda h: training(h, "--epsilon", "small"),
        "polyclinic: --epsilon: expected a number, got 'small'",
    ),
    "no workers": (lambda h: drawing(h, workers=0), "--workers must be a whole number from 1 to"),
    "no batch": (lambda h: drawing(h, **{"batch-size": 0}), "--batch-size must be a whole number from 1 to"),
    "unknown modality": (
        lambda h: drawing(h, modalities="genes"),
        "'genes' is not installed; expected one of: .*fake_notes",
    ),
    "missing option": (lambda h: ["generate", "--patients", 3], "Missing option '--out'"),
    "unknown option": (lambda h: ["generate", "--patience", 3], "No such option.*--patience"),
    "unknown command": (lambda h: ["genrate"], "No such command 'genrate'"),
    # generate: the folder
    "existing output": (
        lambda h: with_file(h, drawing(h), "c/mine.txt"),
        "c: already there and not empty; choose another",
    ),
    "existing cohort": (
        lambda h: with_file(h, drawing(h), "c/manifest.json", b"{}"),
        "c: holds a cohort already",
    ),
    "output a file": (
        lambda h: with_file(h, drawing(h), "c"),
        "c: is a file; expected the name of a new folder",
    ),
    "output below a file": (
        lambda h: drawing(h, out=h / "cohort.yaml" / "c"),
        "c: cannot be made or written",
    ),
    "unwritable folder": (lambda h: drawing(h, out=NOWHERE), "/proc/nowhere: cannot be made or written"),
    "resume of no cohort": (
        lambda h: [*with_file(h, drawing(h), "c/x.txt"), "--resume"],
        r"c: no cohort there",
    ),
    # train: the options
    "neither public nor private": (
        lambda h: training(h, "--seed", 1),
        "say --epsilon E --delta D .* or --public",
    ),
    "epsilon without delta": (lambda h: training(h, "--epsilon", 1), "say --epsilon E --delta D"),
    "public and private": (lambda h: training(h, "--public", "--epsilon", 1), "--public data have no budget"),
    "existing weights": (
        lambda h: with_file(h, training(h), "w.safetensors"),
        "already there; .* --overwrite",
    ),
    "weights nowhere": (
        lambda h: [*training(h), "--out", h / "x" / "w.safetensors"],
        "x: no such folder; make it first",
    ),
    "weights unwritable": (lambda h: [*training(h), "--out", "/proc/w.safetensors"], "cannot be written"),
    "unknown modality to train": (lambda h: training(h, modality="genes"), "'genes' is not installed"),
    "config of another modality": (
        lambda h: [*training(h), "--config", "imaging"],
        "is a training of 'imaging', asked for 'fake_notes'",
    ),
    "unknown config": (
        lambda h: [*training(h), "--config", "xray"],
        "no train named 'xray'; expected one of .*imaging",
    ),
    "unknown first weights": (lambda h: [*training(h), "--init", "prior9"], "no weights 'prior9'"),
    "damaged first weights": (
        lambda h: [*with_file(h, training(h), "i.safetensors", b"{}"), "--init", h / "i.safetensors"],
        "not a Polyclinic weight file",
    ),
    # train: the folder
    "no data folder": (
        lambda h: [*training(h), "--data", h / "none"],
        "none: no such folder; expected the training data",
    ),
    "empty folder": (
        lambda h: (h / "e").mkdir() or [*training(h), "--data", h / "e"],
        r"dataset\.yaml: no such file; write one",
    ),
    "dataset YAML malformed": (lambda h: training(h, text="a: b: c"), r"dataset\.yaml: not valid YAML"),
    "unknown dataset key": (
        lambda h: training(h, tabel="x.csv"),
        "unknown key 'tabel'; the nearest known one is 'table'",
    ),
    "no table": (lambda h: training(h, table=None), r"patients\.csv: no such file; expected the table"),
    "empty table": (lambda h: training(h, table=""), r"patients\.csv: cannot be read as a table"),
    "no training rows": (lambda h: training(h, train="training"), "no rows of split 'training'"),
    "wrong column": (
        lambda h: training(h, fields={"age": {"column": "age"}}),
        r"no column 'age'; the table has: patient_id, ",
    ),
    "no record column": (lambda h: training(h, record="file"), "no column 'file'"),
    "unknown field": (
        lambda h: training(h, fields={"aeg": {"column": "years"}}),
        "unknown field or code 'aeg'; declare it there",
    ),
    "age of 300": (
        lambda h: training(h, table=TABLE.replace("61", "300")),
        "row 2 a: age must lie in 0 to 110 a, got 300",
    ),
    "age NaN": (
        lambda h: training(h, table=TABLE.replace("61", "NaN")),
        "row 2 a: age must lie in 0 to 110 a, got nan",
    ),
    "age a word": (
        lambda h: training(h, table=TABLE.replace("61", "old")),
        "row 2: years must be a number, got 'old'",
    ),
    "unknown value": (
        lambda h: training(h, table=TABLE.replace("61,w", "61,x")),
        "row 2: sex is 'x', expected one of: w, m",
    ),
    # evaluate, ledger
    "evaluate no cohort": (lambda h: ["evaluate", h, "--out", h / "r"], "no cohort there"),
    "evaluate nothing": (lambda h: ["evaluate", h / "none", "--out", h / "r"], "none: no cohort there"),
    "evaluate an unfinished cohort": (unfinished, "c: unfinished; complete it with"),
    "evaluate over a report": (
        lambda h: with_file(h, finished(h), "r/report.html"),
        r"report\.html: already there; choose another name",
    ),
    "reference missing": (
        lambda h: [*finished(h), "--reference", h / "none"],
        "none: no such folder; expected real reference data",
    ),
    "reference empty": (
        lambda h: [*finished(h), "--reference", h / "c" / ".pending"],
        "no reference data; expected a dataset.yaml",
    ),
    "reference of nothing": (
        lambda h: [*finished(h), "--reference", folder(h)],
        "options: expected `modality: NAME`",
    ),
    "no ledger": (lambda h: ["ledger", h / "l.jsonl"], r"l\.jsonl: no such ledger"),
    "card of nothing": (lambda h: ["weights", h / "w.safetensors"], r"w\.safetensors: no such file"),
    "card of no weights": (lambda h: ["weights", broken_ledger(h)[1]], "not a Polyclinic weight file"),
    "changed ledger": (broken_ledger, "line 1: the chain is broken"),
    # files that real modalities refuse
    "image missing": (lambda h: training(h, modality="imaging"), r"a\.png: no such file"),
    "unreadable PNG": (
        lambda h: with_file(h, training(h, modality="imaging"), "data/a.png", b"\x89PNG\r\n\x1a\nbroken"),
        r"a\.png: expected an image file, cannot read it",
    ),
    "unreadable DICOM": (
        lambda h: with_file(
            h,
            training(h, modality="imaging", table=TABLE.replace(".png", ".dcm")),
            "data/a.dcm",
            b"\0" * 128 + b"DICMxx",
        ),
        r"a\.dcm: .*cannot read",
    ),
    "truncated WFDB": (lambda h: truncated_ecg(h), r"data/a\b.*: "),
}


def truncated_ecg(home):
    argv = training(
        home,
        "--public",
        "--config",
        "ecg",
        modality="signals",
        table=TABLE.replace(".png", ""),
        options={"kind": "ecg"},
    )
    names = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    leads = "\n".join(f"a.dat 16 1000/mV 16 0 0 0 0 {name}" for name in names)
    with_file(home, argv, "data/a.hea", f"a 12 500 5000\n{leads}\n".encode())
    return with_file(home, argv, "data/a.dat", b"\0" * 1000)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2_and_leaves_nothing(case, tmp_path, run):
    build, expected = BAD[case]
    argv = build(tmp_path)
    before = tree(tmp_path)
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"polyclinic: [^\n]+\n", err), err
    assert re.search(expected, err), err
    assert tree(tmp_path) == before


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, run, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    code, _, err = run(*drawing(tmp_path))
    assert code == 2
    assert re.fullmatch(r"polyclinic: \S*c: the disk is too full: [^\n]+\n", err)
    assert not (tmp_path / "c").exists()


def test_a_disk_that_fills_up_keeps_what_is_done(tmp_path, run, monkeypatch):
    monkeypatch.setenv("FAKE_FULL_AFTER", str(20 * 16))
    argv = drawing(tmp_path, patients=40, workers=1)
    code, _, err = run(*argv)
    assert code == 2
    assert re.fullmatch(r"polyclinic: \S*c: the disk is full; [^\n]+ --resume\n", err)
    monkeypatch.delenv("FAKE_FULL_AFTER")
    code, out, _ = run(*argv, "--resume")
    assert (code, out.split()[0]) == (0, "24")


def test_an_overspent_budget_exits_3(tmp_path, run, monkeypatch):
    book, plan = Ledger(tmp_path / "ledger.jsonl"), PrivacyPlan(100, 0.1, 1.0, 10, 1e-3, 1.0)
    monkeypatch.setattr(
        "polyclinic.app.training.train",
        lambda *args, **how: book.charge_all("mine", {"again": plan}, args[3].budgets()[1]),
    )
    code, _, err = run(*training(tmp_path, "--epsilon", 1, "--delta", 1e-3, "--limit", 0.01))
    assert code == 3
    assert re.fullmatch(r"polyclinic: mine: this run would bring the total to epsilon [^\n]+\n", err)


def test_train_saves_weights_whose_card_tells_from_what(tmp_path, run):
    config = {"modality": "fake_notes", "name": "first", "model": {"width": 3}, "seed": 5}
    (tmp_path / "t.yaml").write_text(json.dumps(config))
    argv = training(tmp_path, "--public", "--config", tmp_path / "t.yaml")
    code, out, _ = run(*argv)
    assert (code, out.split(":")[0]) == (0, "first")
    card = weights.read_card(tmp_path / "w.safetensors")
    assert (card.name, card.steps, card.model, card.version) == ("first", 5, {"width": 3}, __version__)
    assert [(d.name, d.rows, d.patients) for d in card.data] == [("mine", 1, 1)]
    assert not (tmp_path / "w.checkpoints").exists()
    code, out, _ = run("weights", tmp_path / "w.safetensors")
    assert (code, json.loads(out)) == (0, json.loads(card.model_dump_json()))
    kept = tmp_path / "kept"
    assert run(*argv, "--overwrite", "--seed", 6, "--checkpoints", kept)[0] == 0
    assert weights.read_card(tmp_path / "w.safetensors").steps == 6
    assert kept.is_dir()


def test_train_hands_budget_limit_and_ledger_to_the_modality(tmp_path, run):
    assert run(*training(tmp_path, "--epsilon", 2, "--delta", 1e-3, "--limit", 9))[0] == 0
    card = weights.read_card(tmp_path / "w.safetensors")
    ledger = tmp_path / "ledger.jsonl"
    assert card.privacy == f"{Budget(2.0, 1e-3)} {Budget(9.0, 1e-3)} {ledger}"


def test_generate_says_what_it_made_and_resume_has_nothing_left(tmp_path, run):
    argv = drawing(tmp_path, workers=1, seed=3)
    code, out, err = run(*argv)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"3 patients in [\d.]+ s, \d+ a minute, in \S+c\n", out)
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert (manifest["seed"], manifest["patients"], manifest["status"]) == (3, 3, "complete")
    assert run(*argv, "--resume")[1].startswith("nothing left to do: 3 patients")


def test_an_interrupt_keeps_what_is_done_and_says_so(tmp_path, run, monkeypatch):
    argv = drawing(tmp_path, workers=1, patients=20)

    def interrupt(self, number, *rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("polyclinic.core.cohort.cohort.Cohort.write_slice", interrupt)
    code, _, err = run(*argv)
    assert code == 130
    assert re.fullmatch(r"polyclinic: stopped; what is done is kept in [^\n]+ --resume goes on\n", err)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.setattr(sys, "argv", ["polyclinic", *map(str, argv), "--resume"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0


def test_ledger_prints_runs_and_their_sum(tmp_path, run):
    book, plan = Ledger(tmp_path / "ledger.jsonl"), PrivacyPlan(100, 0.1, 1.0, 10, 1e-3, 1.0)
    book.charge_all("mine", {"imaging": plan}, None)
    book.charge_all("mine", {"ecg": plan}, None)
    code, out, _ = run("ledger", book.path)
    assert code == 0
    heads, *rows = out.splitlines()
    assert "epsilon (RDP)" in heads
    assert [" ".join(row.split()[:2]) for row in rows] == ["mine imaging", "mine ecg", "mine in"]
    single, total = float(rows[0].split()[-1]), float(rows[2].split()[-1])
    assert single < total < 2 * single


def test_modalities_and_weights_are_listed(run):
    code, out, _ = run("modalities")
    assert code == 0
    assert "fake_notes  every patient has a note" in " ".join(out.split("   "))
    assert "polyclinic-fakes 1.0" in out
    assert re.search(r"imaging:skin +where asked for .* imaging-skin ", out)
    assert run("weights")[0] == 0


def test_version(run):
    code, out, _ = run("--version")
    assert code == 0
    assert re.fullmatch(r"polyclinic \d+\.\d+\.\d+\n", out)


def test_module_is_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "polyclinic", "genrate"], capture_output=True, text=True, env=os.environ
    )
    assert (done.returncode, done.stderr) == (
        2,
        "polyclinic: No such command 'genrate'. Did you mean 'generate'?\n",
    )


# -- convert


def test_convert_writes_what_generate_writes(run, tmp_path):
    settings = ["--set", "records.formats=[omop, meds, bundles]"]
    made = ["generate", "--patients", 2, "--seed", 7, "--modalities", "records", "--workers", 1]
    assert run(*made, "--out", tmp_path / "c", *settings)[0] == 0
    for name, folder in (("omop", "omop"), ("meds", "meds"), ("bundles", "fhir_bundles")):
        code, said, _ = run("convert", tmp_path / "c", "--to", name, "--out", tmp_path / name)
        assert code == 0
        assert "files in" in said
        assert tree(tmp_path / name / folder) == tree(tmp_path / "c" / folder)
    assert Cohort.open(tmp_path / "c").verify() == []


def test_convert_refuses_what_it_cannot_write(run, tmp_path):
    assert run("generate", "--patients", 1, "--out", tmp_path / "c", "--modalities", "signals")[0] == 0
    for to, says in (
        ("meds", "the cohort has no health records"),
        ("xml", "expected one of the installed formats"),
    ):
        code, _, error = run("convert", tmp_path / "c", "--to", to, "--out", tmp_path / "other")
        assert code == 2
        assert says in error
        assert not (tmp_path / "other").exists()


def test_a_log_gets_a_line_of_progress_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SILENT", 0.0)
    with terminal.bar() as show:
        show(0, 300)  # not a minute yet
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LOG", 0.0)
    with terminal.bar() as show:
        for done in (0, 299, 300, 301):
            show(done, 300)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "drew 0 of 300 patients",
        *(f"drew {done} of 300 patients, 0 s left" for done in (299, 300, 301)),
    ]


def test_a_view_without_figures_says_why(capsys, tmp_path):
    def view(title, value):
        score = {
            "value": value,
            "reason": "the cohort has 4 such records, 10 are needed" if value is None else "",
        }
        return {
            "title": title,
            "verdicts": {name: "" for name in ("distance", "c2st", "tstr")},
            "scores": [score],
        }

    found = Evaluation(
        {"views": [view("Image", None), view("ECG", 0.1)], "linkage": {}}, tmp_path / "report.html"
    )
    cli._show(found)
    said = capsys.readouterr()
    assert "Image: not measured: the cohort has 4 such records, 10 are needed" in said.out + said.err
    assert "ECG: not" not in said.out + said.err


# -- a cohort that lost files


def test_evaluate_of_a_cohort_that_lost_files_is_refused(run, tmp_path, monkeypatch):
    """Before anything is measured: without them it might look better."""
    assert run(*drawing(tmp_path, patients=20, workers=1))[0] == 0
    monkeypatch.setattr(
        "polyclinic.eval.report.report.evaluate", lambda *_, **__: pytest.fail("it was measured")
    )
    notes = sorted((tmp_path / "c" / "notes").rglob("note.txt"))
    notes[0].write_text(notes[0].read_text().swapcase())  # of the same size
    changed = r"c: 1 of \d+ files are not as they were written: notes/\S+note.txt: changed since it was written; put"
    for path in [None, *notes[1:11]]:
        if path is not None:
            path.unlink()
        code, _, said = run("evaluate", tmp_path / "c", "--out", tmp_path / "e")
        assert (code, len(said.splitlines())) == (2, 1)
        assert re.search(changed if path is None else r"c: \d+ of \d+ files are .*: missing", said)
    assert "11 of" in said
    assert not (tmp_path / "e").exists()
