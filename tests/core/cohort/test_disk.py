"""What the disk refuses: here, places that are on no disk."""

from pathlib import Path

import pytest

from polyclinic.core.cohort.disk import new_folder, require_folder
from polyclinic.core.errors import InputError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("url", ["s3://bucket/c", "memory://c", "file:///nowhere/c", "gs://bucket/a/b"])
def test_a_url_is_no_folder_to_write(here: Path, url: str) -> None:
    for check in (new_folder, require_folder):
        with pytest.raises(
            InputError, match=r"expected a folder, got a URL .*polyclinic push COHORT --to URL"
        ):
            check(Path(url))
    assert not list(here.iterdir())


def test_a_colon_alone_makes_no_url(here: Path) -> None:
    (here / "trial:").mkdir()
    for name in ("trial:/c", "12:30", "c:/d", "a/b:/c", "ward:"):
        assert new_folder(Path(name))
