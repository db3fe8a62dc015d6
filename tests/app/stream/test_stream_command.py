"""`polyclinic stream` of a cohort: lines, interrupts, readers that leave, full disks, wrong options."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from live_patients import profile, record

from polyclinic.app import cli
from polyclinic.app.stream.ward import WardRequest, ward_of_cohort
from polyclinic.core.cohort.cohort import Cohort
from polyclinic.core.errors import InputError
from polyclinic.core.pipeline import Patient
from polyclinic.core.registry import load_modality


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A finished cohort of three such patients."""
    folder = tmp_path_factory.mktemp("made") / "cohort"
    modality = load_modality("signals")
    header = {"seed": 0, "patients": 3, "population": {"name": "A ward"}, "modalities": {"signals": {}}}
    made = Cohort.create(folder, header)
    with made.writing():
        made.write_slice(
            0, [Patient(profile(i), {"signals": record(60 + 10 * i, i)}) for i in range(3)], [modality]
        )
        made.finish([modality])
    return folder


def polyclinic(*arguments, **how):
    return subprocess.Popen(
        [sys.executable, "-m", "polyclinic", "stream", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def test_lines_of_a_cohort_on_disk(cohort):
    process = polyclinic(cohort, "--to", "-?rate=250", "--speed", "max", "--seconds", 20, "--patients", 2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    messages = [json.loads(text) for text in out.splitlines()]
    assert len(messages) == 2 + 1 + 2 * 2 * 20 + 1
    assert {m["ward"] for m in messages} == {"A-ward"}
    assert messages[-1]["state"] == "ended"
    assert "80 messages sent, 0 dropped" in err
    ecg = next(m for m in messages if m["signal"] == "ecg")
    assert len(ecg["leads"]["V6"]) == ecg["rate"] == 250


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_with_130_and_a_summary(cohort, how):
    heeded = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a suite in the background ignores it, and so
    try:  # would its child
        process = polyclinic(cohort, "--to", "-", "--signals", "vitals")
    finally:
        signal.signal(signal.SIGINT, heeded)
    lines = [process.stdout.readline() for _ in range(6)]
    process.send_signal(how)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["state"] == "stopped"
    assert re.search(r"\d+ messages sent, 0 dropped", err)
    assert "Traceback" not in err
    assert len(lines) == 6


def test_a_reader_that_leaves_ends_the_stream(cohort):
    process = polyclinic(cohort, "--to", "-", "--speed", "max")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line_and_exit_2(cohort, monkeypatch, capfd):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "argv", ["polyclinic", "stream", str(cohort), "--to", "-", "--speed", "max"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 2
    assert "standard output: cannot be written (No space left on device)" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either the folder of a cohort or --cohort NAME"),
        (["FOLDER", "--cohort", "icu"], "expected either the folder of a cohort or --cohort NAME"),
        (["FOLDER", "--patients", "4"], "--patients 4: .* has 3 patients"),
        (["FOLDER", "--patients", "0"], "--patients must be a whole number from 1"),
        (["FOLDER", "--speed", "0"], r"--speed: expected a number above 0 .*or max, got '0'"),
        (["FOLDER", "--start", "24:00"], "--start: expected a time of day as HH:MM, got '24:00'"),
        (["FOLDER", "--signals", "eeg"], "--signals: expected some of ecg, vitals, ppg, got 'eeg'"),
        (["FOLDER", "--when-full", "never"], "--when-full: expected drop or wait"),
        (["FOLDER", "--seconds", "0"], "--seconds must be a number above 0"),
        (["FOLDER", "--scenario", "nosuch"], "no scenario named 'nosuch'; expected one of af, bad_network"),
        (["--cohort", "nosuch"], "no cohort named 'nosuch'"),
        (["/nowhere"], "no cohort there"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(cohort, monkeypatch, capsys, arguments, message):
    given_ = [str(cohort) if word == "FOLDER" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["polyclinic", "stream", "--to", "-", *given_])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert re.search(message, err)
    assert len(err.splitlines()) == 1


def test_a_cohort_without_signals_is_refused(tmp_path):
    made = Cohort.create(tmp_path / "c", {"seed": 0, "patients": 1, "population": {}, "modalities": {}})
    with made.writing():
        made.write_slice(0, [Patient(profile(), {})], [])
        made.finish([])
    with pytest.raises(InputError, match="the cohort has no signals; draw one with --modalities signals"):
        ward_of_cohort(tmp_path / "c", WardRequest())
