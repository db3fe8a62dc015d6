"""A cohort in a folder named icu, opened from the folder above it, as a notebook or `python -m` does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRIED = "import sys; sys.path.insert(0, ''); {}import natsort; from anndata._io.specs.registry import IORegistryError"
FAILS = "module 'icu' has no attribute 'Locale'"


@pytest.fixture
def above(tmp_path: Path) -> Path:
    (tmp_path / "icu").mkdir()
    return tmp_path


def ends(above: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=above, env=dict(os.environ), capture_output=True, text=True, check=False
    )


def test_anndata_is_imported_beside_a_folder_named_icu(above: Path) -> None:
    assert FAILS in ends(above, "-c", TRIED.format("")).stderr  # what it is spared from
    done = ends(above, "-c", TRIED.format("import polyclinic; "))
    assert done.returncode == 0, done.stderr


def test_a_folder_of_python_files_is_a_package(above: Path) -> None:
    (above / "icu" / "own.py").write_text("said = 3\n")
    done = ends(
        above, "-c", "import sys; sys.path.insert(0, ''); import polyclinic, icu.own; print(icu.own.said)"
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


@pytest.mark.slow
def test_a_cohort_in_such_a_folder_is_scored_by_python_m(above: Path) -> None:
    """A folder with a manifest and a store: the store is read by anndata, which loads natsort."""
    made = ends(
        above, "-m", "polyclinic", "generate", "--patients", "2", "--modalities", "omics", "--out", "icu/c",
        "--workers", "1",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    done = ends(above, "-m", "polyclinic", "evaluate", "icu/c", "--quick", "--out", "ev")
    assert done.returncode == 0, done.stderr
    assert (above / "ev" / "report.html").exists()
