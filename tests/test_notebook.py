"""The notebook runs on the shipped weights, and its two forms say the same."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "notebooks"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["01_first_cohort", "02_readmission"])
def test_notebook_runs(name: str, tmp_path: Path) -> None:
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    script = jupytext.read(ROOT / f"{name}.py")
    notebook = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    assert [c.source for c in notebook.cells] == [c.source for c in script.cells]
    assert all(not c.get("outputs") for c in notebook.cells)  # outputs are made, never kept
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    pictures = [o for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) >= (1 if name == "02_readmission" else 2)
