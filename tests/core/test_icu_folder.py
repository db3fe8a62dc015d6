"""A cohort in a folder named icu, opened from the folder above it, as a notebook does."""

import os
import subprocess
import sys
from pathlib import Path

READ = (
    "import sys; sys.path.insert(0, ''); from polyclinic.core.icu_folder import spare_icu; {}import anndata"
)


def test_anndata_is_imported_beside_a_folder_named_icu(tmp_path: Path) -> None:
    (tmp_path / "icu").mkdir()

    def ends(before: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", READ.format(before)]
        return subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)

    assert "module 'icu' has no attribute" in ends("").stderr  # what it is spared from
    done = ends("spare_icu(); ")
    assert done.returncode == 0, done.stderr
