"""Plugins of other packages: each kind is one file and one entry-point line; one that is broken is one line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyclinic import Batch, InputError, PatientProfile, generate
from polyclinic.core.capabilities import CAPABILITIES, Live
from polyclinic.core.modality import Record
from polyclinic.core.registry import checked, formats_of, load, load_modality, names, sound, vocabulary
from polyclinic.core.remarks import remarks

PLUGINS = Path(__file__).parents[1] / "plugins"
BROKEN = {
    "absent": r"modality 'absent' of polyclinic-broken 1.0 cannot be loaded: ModuleNotFoundError: .*polyclinic_nowhere",
    "crashing": "cannot be loaded: RuntimeError: no sensor",
    "lacking": r"attribute `shared` is missing; method `indicated\(profile\)` is missing;.*"
    r"`export` cannot be called as export\(records, profiles, folder\)",
    "misnamed": "its name is 'ppg', expected 'misnamed'",
    "mistyped": "`shared` must be bool, got str",
}


@pytest.fixture
def wearable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGINS / "wearable")


@pytest.fixture
def broken(wearable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGINS / "broken")


def test_a_package_from_outside_adds_a_modality_that_streams_and_a_field(wearable: None) -> None:
    patient = next(generate([PatientProfile("a", measurements={"heart_rate": 60.0})], ["ppg"], seed=1))
    assert patient.records["ppg"].arrays["ppg"].shape == (250,)
    modality = load_modality("ppg", {"seconds": 2})
    assert isinstance(modality, Live)
    assert sum(isinstance(modality, able) for able in CAPABILITIES) == 1
    source = modality.live(patient.profile, patient.records["ppg"], 1)
    assert [source.vitals(second)["ppg"] for second in (0, 10)] == [source.vitals(0)["ppg"]] * 2
    vocabulary.cache_clear()
    try:
        assert vocabulary().field("perfusion_index").high == 20
    finally:
        vocabulary.cache_clear()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_asked_for_is_one_line(name: str, broken: None) -> None:
    with pytest.raises(InputError, match=BROKEN[name]) as caught:
        load_modality(name)
    assert "\n" not in str(caught.value)


def test_broken_plugins_are_left_out_with_a_remark(broken: None) -> None:
    found, wrong = checked("modalities")
    said: list[str] = []
    assert set(wrong) == set(BROKEN)
    assert set(found) == set(names("modalities")) - set(BROKEN)
    with remarks(said.append):
        assert set(sound("modalities")) == set(found)
    assert said == [f"left out: {reason}" for reason in wrong.values()]


def test_the_command_line_reports_broken_plugins(tmp_path: Path) -> None:
    path = os.pathsep.join(
        [str(PLUGINS / "wearable"), str(PLUGINS / "broken"), os.environ.get("PYTHONPATH", "")]
    )

    def run(*command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "polyclinic", *command], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip

    listed = run("modalities")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("cannot be used:") == len(BROKEN)
    assert "polyclinic-wearable 1.0" in listed.stdout
    asked = run("generate", "--patients", "1", "--modalities", "lacking", "--out", str(tmp_path / "c"))
    assert asked.returncode == 2
    assert len(asked.stderr.splitlines()) == 1
    assert "lacking" in asked.stderr
    assert not (tmp_path / "c").exists()


# -- one of each kind

KINDS = {
    "formats": ("signals.count", """
class Plugin:
    name, modality = "count", "signals"
    def write(self, records, profiles, folder):
        paths = [folder / f"{p.patient_id}.txt" for p in profiles]
        for record, path in zip(records, paths, strict=True):
            path.write_text(str(len(record.arrays)))
        return paths
"""),
    "sinks": ("listed", """
class Plugin:
    def __init__(self, address, wait, limit):
        self.sent = []
    async def open(self, will): pass
    async def ready(self): pass
    async def send(self, message):
        self.sent.append(message)
        return True
    async def close(self): return 0
"""),
    "engines": ("reversed", """
def Plugin(job, numbers, workers):
    yield from reversed(numbers)
"""),
    "metrics": ("mean_gap", """
class Plugin:
    name, title, higher = "mean_gap", "Gap of means", False
    def compute(self, real, synthetic):
        return float(abs(real.mean() - synthetic.mean()))
"""),
    "attacks": ("norm", """
class Plugin:
    name, title = "norm", "Length of a row"
    def scores(self, synthetic, members, controls, seed):
        return (members ** 2).sum(1), (controls ** 2).sum(1)
"""),
    "modalities": ("pulse", """
from polyclinic_wearable import Wearable
class Plugin(Wearable):
    name = "pulse"
"""),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_is_one_file_and_one_line(
    kind: str,
    tmp_path: Path,
    wearable: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, source = KINDS[kind]
    module = f"added_{kind}"
    home = tmp_path / f"{module}-1.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (tmp_path / f"{module}.py").write_text(source)
    (home / "entry_points.txt").write_text(f"[polyclinic.{kind}]\n{name} = {module}:Plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugin: Any = load(kind, name)
    assert name in names(kind)
    rows = np.arange(6.0).reshape(3, 2)
    if kind == "formats":
        assert "count" in formats_of("signals")
        (written,) = plugin.write([Record({})], [PatientProfile("p")], tmp_path)
        assert written.read_text() == "0"
    elif kind == "sinks":
        assert plugin(None, False, 1).sent == []
    elif kind == "engines":
        assert list(plugin(None, [0, 1], 1)) == [1, 0]
    elif kind == "metrics":
        assert plugin.compute(rows, rows) == 0
    elif kind == "attacks":
        assert plugin.scores(rows, rows, rows, 0)[0].tolist() == [1, 13, 41]
    else:
        batch = Batch((PatientProfile("p"),), np.zeros((1, 0), np.float32), (1,))
        assert len(plugin.generator(()).sample(batch)) == 1
    with capsys.disabled():
        print(f"\nadding one of {kind}: {module}.py and the entry point `{name} = {module}:Plugin`")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "modalities"])
def test_a_plugin_that_is_of_another_kind_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "odd-1.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (home / "entry_points.txt").write_text(f"[polyclinic.{kind}]\nsignals.odd = os:getcwd\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"'signals\.odd' of odd 1\.0 does not keep the contract") as caught:
        load(kind, "signals.odd")
    assert "\n" not in str(caught.value)
