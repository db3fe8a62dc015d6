"""Extras: what the base leaves out is asked for in one line, and the list of it is the same everywhere."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from polyclinic.core import extras
from polyclinic.core.capabilities import NeedsPackages
from polyclinic.core.errors import InputError
from polyclinic.core.registry import load_modality

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OTHER = {"test", "docs", "notebook", "all"}  # for those who work on it
HAVE = {name: wanted for name, wanted in SETTINGS["optional-dependencies"].items() if name not in OTHER}
# ends a run whose command imports a module that only an extra brings
BLOCKED = """
import sys
from importlib import metadata, util

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {modules}:
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Blocked())
find = util.find_spec
util.find_spec = lambda name, package=None: None if name.partition(".")[0] in {modules} else find(name, package)
sys.argv = ["polyclinic", *{arguments}]
from polyclinic.app.cli import main
main()
"""


def package_of(requirement):
    return re.split(r"[<>=\[]", requirement)[0]


def run(folder, *arguments):
    code = BLOCKED.format(modules=set(extras.EXTRAS), arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300
    )


def test_the_extra_named_for_a_module_brings_its_package():
    assert all(package in map(package_of, HAVE[extra]) for package, extra in extras.EXTRAS.values())
    base = set(map(package_of, SETTINGS["dependencies"]))
    assert not base & {package for package, _ in extras.EXTRAS.values()}
    assert all(importlib.util.find_spec(module) for module in extras.EXTRAS), "pip install '.[test]'"


def test_the_page_lists_the_extras_and_their_packages():
    rows = re.findall(
        r"^\| (\w+) \|.*\| ([\w, -]+) \|$", (ROOT / "docs/reference/extras.md").read_text(), re.M
    )
    listed = {name: set(packages.split(", ")) for name, packages in rows if name != "extra"}
    assert listed == {n: set(map(package_of, wanted)) - {"polyclinic"} for n, wanted in HAVE.items()}
    (everything,) = SETTINGS["optional-dependencies"]["all"]
    assert set(re.findall(r"\w+", everything.partition("[")[2])) == {*HAVE, "notebook"}


def test_docs_and_messages_have_one_line_to_install_an_extra():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    lines = {
        (page.name, line)
        for page in pages
        for line in re.findall(r"pip install [^`\n]*\[[\w,]+\]'?", page.read_text(encoding="utf-8"))
        if "-e '.[test]'" not in line
    }
    assert lines
    for page, line in sorted(lines):
        names = line.partition("[")[2].partition("]")[0]
        assert line == extras.install_line(names), page
        assert set(names.split(",")) <= {*HAVE, *OTHER}, page
    code = [
        path
        for room in ("app", "core", "conditioning", "modalities", "eval")
        for path in (ROOT / room).rglob("*.py")
    ]
    said = {path.name for path in code if "polyclinic[" in path.read_text(encoding="utf-8")}
    assert said == {"extras.py"}, "install_line makes it"


def test_what_needs_an_absent_package_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for name, options, package in (
        ("signals", {"formats": "edf"}, "edfio"),
        ("wearable", {"formats": "edf"}, "edfio"),
        ("imaging", {"compression": "jpeg-ls"}, "pyjpegls"),
        ("genotypes", {}, "pysam"),
    ):
        made = load_modality(name, options)
        assert isinstance(made, NeedsPackages), name
        with pytest.raises(InputError, match=f" needs {package}; "):
            made.require_packages()
    load_modality("signals").require_packages()


def test_an_absent_module_is_one_line(monkeypatch):
    extras.need("x", "duckdb")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^x needs duckdb; pip install 'polyclinic\[omop\]'$"):
        extras.need("x", "duckdb")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate", "--patients", "2", "--modalities", "signals", "--set", "signals.formats=[wfdb,edf]"), "edfio"),
        (("generate", "--patients", "2", "--modalities", "imaging", "--set", "imaging.compression=j2k"), "pylibjpeg"),
        (("generate", "--patients", "2", "--modalities", "signals", "--engine", "ray"), "ray"),
        (("generate", "--patients", "2", "--modalities", "genotypes"), "pysam"),
        (("keys", "new"), "cryptography"),
        (("stream", "--cohort", "icu", "--patients", "1", "--to", "mqtt://127.0.0.1:1"), "paho-mqtt"),
    ],
)  # fmt: skip
def test_a_command_that_lacks_its_extra_writes_nothing(tmp_path, arguments, said):
    out = ("--out", "c") if arguments[0] == "generate" else ()
    done = run(tmp_path, *arguments, *out)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(rf".* needs {said}; pip install 'polyclinic\[\w+\]'\n", done.stderr), done.stderr
    assert not list(tmp_path.iterdir())
