"""A release from end to end on made-up records: certificate, quarantine, journal, approvals, resampling, purge."""

import json
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from polyclinic.app import cli
from polyclinic.app.engines import generation as engine
from polyclinic.app.governance import certificate, retention, verification
from polyclinic.app.governance.measuring import measure
from polyclinic.app.governance.release import ReleaseContext, release
from polyclinic.app.references import References
from polyclinic.app.stream.ward import WardRequest, ward_of_cohort
from polyclinic.core.cohort import quarantine
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.cohort.journal import JUDGED, Journal
from polyclinic.core.cohort.signing import Signer, new_key, read_public, signed_by
from polyclinic.core.cohort.watermark import Mark
from polyclinic.core.dp.budget import Budget, PrivacyPlan
from polyclinic.core.dp.ledger import Ledger
from polyclinic.core.errors import InputError, Refused
from polyclinic.core.modality import DatasetSource, TrainingSet
from polyclinic.core.profile import PatientProfile

NOTES = "fake_notes"


def context(place, policy="lab.yaml", key="steward.pem", **more):
    return ReleaseContext.load(str(place / policy), place / key, **more)


def another_policy(place, name, **changes):
    own = {**yaml.safe_load((place / "lab.yaml").read_text()), "name": name}
    for path, value in changes.items():
        section, key = path.split("__")
        own[section] = {**own[section], key: value}
    (place / f"{name}.yaml").write_text(yaml.safe_dump(own))
    return f"{name}.yaml"


def wrong(place, **how):
    return verification.verify(place / "c", **how).problems


# -- released


def test_a_good_cohort_leaves_with_a_certificate_that_verifies(place, measured):
    outcome = release(place / "c", context(place))
    assert outcome.passed, outcome.reasons
    paper = certificate.read(place / "c")
    assert paper["verdict"]["passed"]
    assert paper["cohort"]["patients"] == 5
    assert set(paper["artifacts"]) == {"scores.json", "report.html", "croissant.json", "datasheet.md"}
    assert paper["policy"]["gate_two"]["auc_upper_at_most"] == 0.7
    assert paper["retain_until"] == (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    assert paper["verdict"]["not_measured"]
    assert wrong(place) == []
    assert wrong(place, public=read_public(str(place / "steward.pem.pub"))) == []
    quarantine.require_free(place / "c")


@pytest.mark.filterwarnings("ignore:.*its last line has no end")
@pytest.mark.parametrize("at", [0, 0.5, -1], ids=["first", "middle", "last"])
def test_one_byte_changed_in_any_file_is_found_and_named(place, measured, at):
    release(place / "c", context(place))
    files = [path for path in sorted((place / "c").rglob("*")) if path.is_file()]
    assert len(files) >= 10
    for path in files:
        whole = path.read_bytes()
        if not whole:
            continue
        spot = len(whole) - 1 if at == -1 else int(at * len(whole))
        for flip in (0x01, 0x20, 0xFF):
            path.write_bytes(whole[:spot] + bytes([whole[spot] ^ flip]) + whole[spot + 1 :])
            problems = wrong(place)
            assert any(path.name in line for line in problems), (path, flip, problems)
        path.write_bytes(whole)
    assert wrong(place) == []


@pytest.mark.parametrize("name", ["notes/extra.txt", "real_patients.csv", ".hidden", ".pending/lock"])
def test_a_file_that_was_added_or_lost_is_found(place, measured, name):
    release(place / "c", context(place))
    added = place / "c" / name
    added.parent.mkdir(parents=True, exist_ok=True)
    added.write_text("x")
    assert wrong(place) == [f"{name}: not in the manifest"]
    added.unlink()
    for lost in ("patients.parquet", "scores.json", "journal.jsonl"):
        (place / "c" / lost).rename(place / lost)
        assert any(lost in line for line in wrong(place))
        (place / lost).rename(place / "c" / lost)
    assert wrong(place) == []


def test_a_cohort_never_released_is_one_line(place):
    folder = place / "c"
    said = wrong(place)
    files = len(json.loads((folder / "manifest.json").read_text())["files"])
    assert said == [
        f"never certified (polyclinic release does that); its {files} files are as its manifest says"
    ]
    (folder / "more.txt").write_text("x")
    assert wrong(place) == [
        "never certified (polyclinic release does that); not as its manifest says",
        "more.txt: not in the manifest",
    ]


def test_a_certificate_of_another_key_is_not_the_stewards(place, measured):
    release(place / "c", context(place, key="stranger.pem"))
    assert wrong(place) == []
    (problem,) = wrong(place, public=read_public(str(place / "steward.pem.pub")))
    assert "not by the key given" in problem


def test_a_certificate_signed_again_by_a_stranger_does_not_pass_for_the_stewards(place, measured):
    release(place / "c", context(place))
    path = place / "c" / "certificate.json"
    paper = json.loads(path.read_text())
    forged = {**paper, "issued": "2031-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(forged, indent=1) + "\n")
    assert any("changed since it was signed" in line for line in wrong(place))
    stranger = Signer.load(place / "stranger.pem")
    certificate.seal(place / "c", forged, stranger)
    assert any("changed since it was signed" in line for line in wrong(place))
    certificate.seal(place / "c", {**forged, "signed_by": stranger.public}, stranger)
    assert any("not by the key given" in line for line in wrong(place, public=paper["signed_by"]))


@pytest.mark.parametrize("gone", ["verdict", "artifacts", "journal", "cohort", "retain_until", "issued"])
def test_a_signed_file_that_is_no_certificate_is_no_pass(place, measured, gone):
    release(place / "c", context(place))
    path = place / "c" / "certificate.json"
    body = {k: v for k, v in json.loads(path.read_text()).items() if k != gone}
    stranger = Signer.load(place / "stranger.pem")
    certificate.seal(place / "c", {**body, "signed_by": stranger.public}, stranger)
    assert any(
        "certificate.json" in line
        for line in wrong(place, public=read_public(str(place / "steward.pem.pub")))
    )


def test_a_signature_is_over_type_and_payload():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Signer(Ed25519PrivateKey.generate())
    signatures = signer.sign("t", b"payload")
    (one,) = signatures
    assert signed_by("t", b"payload", signatures) == signer.public
    assert signed_by("u", b"payload", signatures) is None
    assert signed_by("t", b"payloae", signatures) is None
    for change in (
        {"keyid": "0" * 64},
        {"keyid": one["keyid"].upper()},
        {"sig": one["sig"][4:]},
        {"sig": ""},
        {"x": 1},
    ):
        assert signed_by("t", b"payload", [{**one, **change}]) is None
    for wrong_ in ([], [one, one], None, [None], "", [{"keyid": one["keyid"]}]):
        assert signed_by("t", b"payload", wrong_) is None


def test_the_verifier_of_the_docs_checks_a_certificate_without_this_package(place, measured):
    release(place / "c", context(place))
    docs = Path(__file__).parents[3] / "docs" / "how-to" / "release.md"
    (script,) = (
        text for text in docs.read_text().split("```python\n")[1:] if "DSSEv1" in text.split("```")[0]
    )
    (place / "check.py").write_text(script.split("```")[0])
    command = [sys.executable, "check.py", "c/certificate.dsse.json", "steward.pem.pub"]
    told = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == json.loads((place / "c" / "certificate.json").read_text())
    command[-1] = "stranger.pem.pub"
    assert subprocess.run(command, cwd=place, capture_output=True, check=False).returncode != 0


def test_an_older_certificate_or_journal_is_one_clear_line(place, measured):
    release(place / "c", context(place))
    path = place / "c" / "certificate.json"
    whole = path.read_text()
    path.write_text(json.dumps({**json.loads(whole), "version": 2}))
    with pytest.raises(
        InputError, match="version 3, got polyclinic-certificate version 2; draw the cohort again"
    ):
        certificate.read(place / "c")
    line = {"event": "judged", "by": "0" * 64, "signature": "0" * 128, "time": "", "previous": ""}
    (place / "c" / "journal.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(InputError, match="of an older version; draw the cohort again"):
        quarantine.require_free(place / "c")


def test_lines_taken_from_the_journals_end_are_missed(place, measured):
    release(place / "c", context(place))
    path = place / "c" / "journal.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:-1]))
    assert any("are gone" in line for line in wrong(place))


def test_files_that_were_changed_before_release_are_refused(place, measured):
    (place / "c" / "secret.csv").write_text("name\n")
    with pytest.raises(Refused, match=r"secret\.csv: not in the manifest"):
        release(place / "c", context(place))
    assert measured[0] == []


# -- refused


def test_a_refused_cohort_cannot_be_released_by_trying_again(place, measured):
    calls, findings = measured
    findings[:] = [0.99, 0.6]  # the second measurement would pass
    for _ in range(3):
        outcome = release(place / "c", context(place))
        assert not outcome.passed
        assert outcome.refused_by == "gate one"
    assert calls == ["c"]
    for name in ("scores.json", "quarantine.json", "certificate.json"):
        (place / "c" / name).unlink(missing_ok=True)
    assert not release(place / "c", context(place)).passed
    assert calls == ["c"]


def test_a_refusal_binds_whoever_signs(place, measured):
    measured[1][:] = [0.99, 0.6]
    release(place / "c", context(place))
    assert not release(place / "c", context(place, key="stranger.pem")).passed


def test_a_cohort_whose_journal_is_gone_is_not_judged_as_if_new(place, measured):
    measured[1][:] = [0.99, 0.6]
    release(place / "c", context(place))
    (place / "c" / "journal.jsonl").unlink()
    with pytest.raises(Refused, match="its journal is gone"):
        release(place / "c", context(place))


def test_quarantine_holds_until_a_passing_verdict(place, measured):
    measured[1][:] = [0.85, 0.85]
    strict = another_policy(
        place, "strict", gate_one__linkage_score_at_least=1.0, gate_two__auc_upper_at_most=0.5
    )
    assert not release(place / "c", context(place, strict)).passed
    with pytest.raises(Refused, match="in quarantine: gate two"):
        quarantine.require_free(place / "c")
    assert any("says refused" in line for line in wrong(place))
    (place / "c" / "quarantine.json").unlink()  # the mark is not what holds it
    with pytest.raises(Refused, match="in quarantine"):
        quarantine.require_free(place / "c")
    assert release(place / "c", context(place)).passed
    quarantine.require_free(place / "c")
    (other,) = certificate.read(place / "c")["other_verdicts"]
    assert (other["policy"], other["passed"]) == ("strict", False)
    assert "strict" in (place / "c" / "datasheet.md").read_text()
    assert wrong(place) == []


def test_a_cohort_in_quarantine_is_not_streamed(place, measured):
    measured[1][:] = [0.99]
    release(place / "c", context(place))
    for _ in ("marked", "the mark deleted"):
        with pytest.raises(Refused, match="in quarantine"):
            ward_of_cohort(place / "c", WardRequest())
        (place / "c" / quarantine.QUARANTINE).unlink(missing_ok=True)


def test_a_cohort_refused_after_its_release_is_no_longer_certified(place, measured):
    release(place / "c", context(place))
    strict = another_policy(place, "strict", gate_two__auc_upper_at_most=0.5)
    assert not release(place / "c", context(place, strict)).passed
    assert not (place / "c" / "croissant.json").exists()
    assert wrong(place)


def test_scores_that_nobody_measured_are_not_used(place, measured, scores):
    calls, findings = measured
    findings[:] = [0.99]
    (place / "c" / "scores.json").write_text(json.dumps(scores(0.5)))
    assert not release(place / "c", context(place)).passed
    assert calls == ["c"]


def test_scores_are_measured_once_for_one_key_and_reference(place, measured):
    calls, _ = measured
    for name in ("lab.yaml", another_policy(place, "other", gate_two__auc_upper_at_most=0.69), "lab.yaml"):
        assert release(place / "c", context(place, name)).passed
    assert calls == ["c"]
    release(place / "c", context(place, key="stranger.pem"))
    assert calls == ["c", "c"]


def test_what_evaluate_measured_and_signed_a_release_takes(place, measured, monkeypatch):
    calls, _ = measured
    monkeypatch.setattr(cli, "_show", lambda found: None)  # the fake figures are no whole scores.json
    words = ("evaluate", place / "c", "--out", place / "c")

    def run(*more):
        monkeypatch.setattr(sys, "argv", ["polyclinic", *map(str, (*words, *more))])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code

    assert run("--key", place / "steward.pem") == 0
    assert run("--key", place / "steward.pem") == 0  # and again
    assert release(place / "c", context(place)).passed
    assert calls == ["c"]
    release(place / "c", context(place, key="stranger.pem"))  # another's signature is not taken
    assert calls == ["c", "c"]
    (place / "c" / "scores.json").write_text("{}")  # nor figures that were changed
    other = another_policy(place, "other", gate_two__auc_upper_at_most=0.69)
    assert release(place / "c", context(place, other)).passed
    assert calls == ["c", "c", "c"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--key", "steward.pem", "--quick"), "--quick: with --key expected all figures"),
        (("--key", "steward.pem", "--out", "elsewhere"), "--out elsewhere: with --key expected all figures"),
        (("--ledger", "ledger.jsonl"), "--ledger: expected beside --key"),
        (("--key", "steward.pem", "--ledger", "none.jsonl"), "none.jsonl"),
    ],
)
def test_what_does_not_fit_a_signed_evaluation_is_one_line(place, measured, monkeypatch, capsys, more, says):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["polyclinic", "evaluate", "c", "--out", "c", *more])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = "".join(capsys.readouterr()).strip()
    assert (ended.value.code, said.count("\n"), says in said) == (2, 0, True)
    assert measured[0] == []


def test_files_that_were_changed_are_not_measured(place, measured):
    changed = next(p for p in (place / "c").rglob("*") if p.is_file() and p.name not in ("manifest.json",))
    changed.write_bytes(changed.read_bytes() + b"x")
    with pytest.raises(Refused, match="not as it was drawn"):
        measure(place / "c", place / "steward.pem")
    assert measured[0] == []


# -- approvals


def test_a_release_waits_for_the_roles_of_its_policy(place, measured):
    two = another_policy(place, "two", terms__roles=["owner", "steward"])
    outcome = release(place / "c", context(place, two))
    assert outcome.refused_by == "approvals"
    retention.approve(place / "c", "owner", str(place / two), place / "steward.pem")
    assert not release(place / "c", context(place, two)).passed  # one key, two roles
    retention.approve(place / "c", "owner", str(place / two), place / "owner.pem", "read the report")
    assert release(place / "c", context(place, two)).passed
    approval = certificate.read(place / "c")["approvals"][-1]
    assert (approval["comment"], approval["had_seen_scores"]) == ("read the report", True)
    assert approval["by"] == read_public(str(place / "owner.pem.pub"))
    assert wrong(place) == []
    assert len(measured[0]) == 1


def test_an_approval_is_of_one_policy_and_one_cohort(place, measured):
    two = another_policy(place, "two", terms__roles=["owner", "steward"])
    other = another_policy(place, "other", terms__roles=["owner", "steward"])
    retention.approve(place / "c", "owner", str(place / other), place / "owner.pem")
    assert release(place / "c", context(place, two)).refused_by == "approvals"
    with pytest.raises(InputError, match="asks for steward, not for 'owner'"):
        retention.approve(place / "c", "owner", str(place / "lab.yaml"), place / "owner.pem")
    named = another_policy(place, "named", terms__keys={"steward": ["0" * 64]})
    with pytest.raises(InputError, match="names other keys for the steward"):
        retention.approve(place / "c", "steward", str(place / named), place / "owner.pem")


# -- another draw


def test_a_failing_modality_is_resampled_and_the_certificate_says_so(place, measured):
    calls, findings = measured
    findings[:] = [0.99, 0.98, 0.6]
    outcome = release(place / "c", context(place), regenerate=5, workers=1)
    assert outcome.passed
    assert outcome.folder.name == "c.draw-3"
    assert calls == ["c", "c.draw-2", "c.draw-3"]
    paper = certificate.read(outcome.folder)
    assert paper["selection"]["number"] == 3
    assert paper["selection"]["resampled"] == {NOTES: 2}
    assert "3 cohorts of the same patients were drawn" in (outcome.folder / "datasheet.md").read_text()
    first, last = Cohort.open(place / "c"), Cohort.open(outcome.folder)
    assert list(first.profiles()) == list(last.profiles())
    notes = [sorted((c.folder / "notes").rglob("note.txt")) for c in (first, last)]
    assert all(a.read_bytes() != b.read_bytes() for a, b in zip(*notes, strict=True))
    tables = [(c.folder / "table" / "rows.csv").read_bytes() for c in (first, last)]
    assert tables[0] == tables[1]  # drawn with the seeds it had
    for name in ("c", "c.draw-2"):
        with pytest.raises(Refused, match="quarantine"):
            quarantine.require_free(place / name)
    assert verification.verify(outcome.folder).problems == []


def test_draws_end_at_the_number_allowed_and_go_on_where_they_ended(place, measured):
    calls, findings = measured
    findings[:] = [0.99]
    assert not release(place / "c", context(place), regenerate=1, workers=1).passed
    assert calls == ["c", "c.draw-2"]
    assert not release(place / "c", context(place), regenerate=2, workers=1).passed
    assert calls == ["c", "c.draw-2", "c.draw-3"]
    told = [e.details["cohort"] for e in Journal(place / "c").events() if e.event == "resampled"]
    assert told == ["c.draw-2"]


def test_no_new_draw_where_it_would_be_of_no_use(place, measured):
    policy = another_policy(place, "many", terms__patients_at_least=50)
    assert not release(place / "c", context(place, policy), regenerate=3, workers=1).passed
    assert measured[0] == ["c"]


def test_the_ledger_is_told_whose_real_rows_were_looked_at_and_is_charged_nothing(place, measured):
    book = Ledger(place / "ledger.jsonl")
    plan = PrivacyPlan.once(300, 4.0, 1e-5, "a test")
    for population in ("ward+clinic", "elsewhere"):
        book.charge_all(population, {"training": plan}, None)
    spent = {name: book.spent(name, 1e-5) for name in ("ward+clinic", "elsewhere")}
    people = tuple(PatientProfile(f"p{i // 2}") for i in range(6))
    rows = TrainingSet(
        place, DatasetSource("ward", "none"), tuple("abcdef"), people, (), "test"
    )  # two rows of each of three patients
    own = replace(context(place, ledgers=(book.path,)), reference=References({}, {NOTES: [(rows, rows)]}))
    measured[1][:] = [0.99, 0.6]
    assert release(place / "c", own, regenerate=1, workers=1).passed
    told = [(e.population, e.purpose.split(" (")[0], e.patients) for e in book.entries()[2:]]
    assert told == [
        ("ward+clinic", "scores of cohort c", 3),
        ("ward+clinic", "selection: c.draw-2 drawn for the scores of c", 3),
        ("ward+clinic", "scores of cohort c.draw-2", 3),
    ]
    assert {name: book.spent(name, 1e-5) for name in spent} == spent
    book.charge_all("ward+clinic", {"more": plan}, Budget(20.0, 1e-5))  # notes do not hinder accounting
    (paper,) = certificate.read(place / "c.draw-2")["ledgers"]
    assert paper["entries"] == 5
    assert release(place / "c.draw-2", own).passed  # scores are not measured again, so nothing is noted again
    assert len(book.entries()) == 6


def test_new_draws_need_the_weights_of_the_first(place, measured, monkeypatch):
    measured[1][:] = [0.99]
    monkeypatch.setattr(engine, "SOFTWARE", ("polyclinic",))
    with pytest.raises(InputError, match="cannot draw again, the software in force"):
        release(place / "c", context(place), regenerate=1, workers=1)


# -- the journal


def test_two_processes_appending_at_once_keep_the_chain(place):
    code = (
        "import sys; from pathlib import Path\n"
        "from polyclinic.core.cohort.journal import Journal; from polyclinic.core.cohort.signing import Signer\n"
        "signer = Signer.load(Path(sys.argv[2]))\n"
        "for n in range(20): Journal(Path(sys.argv[1])).append('judged', 'x', signer, {'n': n})\n"
    )
    keys = ("steward.pem", "owner.pem")
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(place / "c"), str(place / key)]) for key in keys
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    events = Journal(place / "c").events()
    assert len(events) == 40
    for key in keys:
        own = [e.details["n"] for e in events if e.by == read_public(str(place / f"{key}.pub"))]
        assert own == list(range(20))


@pytest.mark.parametrize("change", ["swap", "drop", "edit", "unsigned", "blank"])
def test_a_journal_that_was_changed_is_refused(place, change):
    signer = Signer.load(place / "steward.pem")
    journal = Journal(place / "c")
    for n in range(4):
        journal.append(JUDGED, "x", signer, {"n": n})
    lines = journal.path.read_text().splitlines(keepends=True)
    lines = {
        "swap": [lines[1], lines[0], *lines[2:]],
        "drop": [lines[0], *lines[2:]],
        "edit": [*lines[:3], lines[3].replace('"n": 3', '"n": 4')],
        "unsigned": [*lines[:3], lines[3].replace('"keyid"', '"id"')],
        "blank": [*lines, "\n"],
    }[change]
    journal.path.write_text("".join(lines))
    with pytest.raises(InputError, match="the journal was changed"):
        journal.events()


# -- purge


def test_a_purge_deletes_the_data_and_keeps_the_artifacts(place, measured):
    release(place / "c", context(place))
    with pytest.raises(InputError, match="to be kept until"):
        retention.purge(place / "c", place / "steward.pem", "contract ended")
    count = retention.purge(place / "c", place / "steward.pem", "contract ended", early=True)
    assert count > 5
    left = {p.relative_to(place / "c").as_posix() for p in (place / "c").rglob("*")}
    assert left == {
        "manifest.json", "scores.json", "certificate.json", "certificate.dsse.json", "journal.jsonl", "croissant.json",
        "datasheet.md",
    }  # fmt: skip
    found = verification.verify(place / "c")
    assert found.problems == []
    assert any("purged on" in note and "contract ended" in note for note in found.notes)
    with pytest.raises(Refused, match="was purged"):
        release(place / "c", context(place))
    assert retention.purge(place / "c", place / "steward.pem", "again", early=True) == 0
    assert len([e for e in Journal(place / "c").events() if e.event == "purged"]) == 1


def test_what_a_purge_left_behind_is_found(place, measured):
    release(place / "c", context(place))
    table = (place / "c" / "patients.parquet").read_bytes()
    retention.purge(place / "c", place / "steward.pem", "", early=True)
    (place / "c" / "patients.parquet").write_bytes(table)
    assert wrong(place) == ["patients.parquet: was to be purged and is still there"]


def test_a_certificate_past_its_date_says_purge(place, measured, monkeypatch):
    release(place / "c", context(place))

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=40)

    monkeypatch.setattr(verification, "datetime", Later)
    assert any("purge it" in line for line in wrong(place))


def test_a_purge_stays_inside_the_cohort(place):
    path = place / "c" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["../steward.pem"] = {"sha256": "0" * 64, "bytes": 1}
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="outside of the cohort"):
        retention.purge(place / "c", place / "owner.pem", "")
    assert (place / "steward.pem").exists()


# -- the cards


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # rdflib on itself
def test_the_card_is_valid_croissant_without_a_network(place, measured, monkeypatch):
    mlc = pytest.importorskip("mlcroissant")

    def no(*args, **how):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", no)
    monkeypatch.setattr(socket, "getaddrinfo", no)
    release(place / "c", context(place))
    described = mlc.Dataset(jsonld=place / "c" / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    assert not described.metadata.ctx.issues.warnings
    ids = [row["patients/patient_id"].decode() for row in described.records("patients")]
    assert ids == [profile.patient_id for profile in Cohort.open(place / "c").profiles()]


def test_the_data_sheet_says_what_was_not_measured_and_promises_nothing(place, measured):
    release(place / "c", context(place))
    text = (place / "c" / "datasheet.md").read_text()
    assert "## What was not measured" in text
    assert "fake_table" in text
    assert "It does not say that the data are anonymous" in text


# -- keys and the command line


def test_keys_are_for_their_owner_alone_and_are_not_overwritten(tmp_path):
    new_key(tmp_path / "k.pem")
    Mark.new(tmp_path / "m.key")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("k.pem", "m.key")] == [0o600, 0o600]
    with pytest.raises(InputError, match="already there"):
        new_key(tmp_path / "k.pem")
    with pytest.raises(InputError, match="expected a private Ed25519 key"):
        Signer.load(tmp_path / "k.pem.pub")
    with pytest.raises(InputError, match="expected a public Ed25519 key"):
        read_public(str(tmp_path / "k.pem"))
    with pytest.raises(InputError, match="expected a watermark key"):
        Mark.load(tmp_path / "k.pem")


def test_a_key_may_have_a_passphrase(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYCLINIC_KEY_PASSPHRASE", "correct horse")
    public = new_key(tmp_path / "k.pem")
    assert Signer.load(tmp_path / "k.pem").public == public
    monkeypatch.delenv("POLYCLINIC_KEY_PASSPHRASE")
    with pytest.raises(InputError, match="the passphrase"):
        Signer.load(tmp_path / "k.pem")


def test_the_command_line(place, measured, monkeypatch, capsys):
    def run(*argv):
        monkeypatch.setattr(sys, "argv", ["polyclinic", *map(str, argv)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, "".join(capsys.readouterr())

    measured[1][:] = [0.6]
    strict = another_policy(place, "strict", gate_two__auc_upper_at_most=0.5)
    terms = ("--policy", place / "lab.yaml", "--key", place / "steward.pem")
    code, said = run("verify", place / "c")
    assert (code, said.count("\n"), said.count("certif")) == (3, 1, 1)
    code, said = run("release", place / "c", "--policy", place / strict, "--key", place / "steward.pem")
    assert code == 3
    assert "refused: gate two: fake_notes/note/nearest_record" in said
    assert run("verify", place / "c")[0] == 3
    code, said = run("stream", place / "c", "--to", "-")
    assert (code, "in quarantine" in said) == (3, True)
    assert run("release", place / "c", *terms)[0] == 0
    code, said = run("verify", place / "c", "--key", place / "steward.pem.pub")
    assert (code, "verified" in said) == (0, True)
    assert run("verify", place / "c", "--key", place / "owner.pem.pub")[0] == 3
    assert run("approve", place / "c", "--role", "steward", *terms)[0] == 0
    assert "approved" in run("journal", place / "c")[1]
    code, said = run("purge", place / "c", "--key", place / "steward.pem")
    assert (code, "--early" in said) == (2, True)
    assert run("release", place / "c", "--policy", "partnr", "--key", place / "steward.pem")[0] == 2
    assert run("keys", place / "new.pem")[0] == 0
    assert run("keys", place / "new.key", "--watermark")[0] == 0
