"""Names that others wrote: one function makes a file's name and one a path; both refuse what leads elsewhere."""

import os
import re
from pathlib import Path

import pytest

from polyclinic.core.errors import InputError
from polyclinic.core.paths import below, file_name, inside, require_file
from polyclinic.core.text import say, shown

ROOT = Path(__file__).parents[2]
EVIL = [
    "../x",
    "/etc/x",
    "a/b",
    "..",
    ".",
    "",
    " ",
    "a\0b",
    "x" * 300,
    "a\nb",
    "a\x1b[31m",
    "~",
    "-x",
    "a ",
    "a.",
    "\u202ea",
]


@pytest.mark.parametrize("name", EVIL)
def test_no_file_is_called_so(name: str) -> None:
    with pytest.raises(InputError, match="card: expected a plain name"):
        file_name(name, "card")


@pytest.mark.parametrize("name", ["rna", "meth_450k", "PC-B0CA6D-000001", "S 1", "a.b", "7"])
def test_plain_names_are_names(name: str) -> None:
    assert file_name(name, "card") == name


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", " ", "a\0b", "x" * 300])
def test_a_path_stays_below(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="table"):
        below(tmp_path, name, "table")
    assert below(tmp_path, "a/b.png", "table") == tmp_path / "a" / "b.png"


def test_links_do_not_lead_out_of_a_cohort(tmp_path: Path) -> None:
    home = tmp_path / "c"
    home.mkdir()
    (tmp_path / "secret").write_text("x")
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "own").write_text("x")
    assert inside(home, "own", "manifest") == home / "own"
    for name in ("link", "./own", "a//b", "."):
        with pytest.raises(InputError, match="manifest"):
            inside(home, name, "manifest")


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "lost").symlink_to("nowhere")
    for name, what in (
        ("pipe", "a device or a pipe"),
        ("zero", "a device"),
        ("lost", "a broken link"),
        (".", "a folder"),
    ):
        with pytest.raises(InputError, match=f"expected a table, got {what}"):
            require_file(tmp_path / name, "a table")
    with pytest.raises(InputError, match="no such file; expected a table"):
        require_file(tmp_path / "none", "a table")
    with pytest.raises(InputError, match="cannot be opened"):
        require_file(tmp_path / ("x" * 300), "a table")


def test_text_of_files_drives_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31m\x07\u202e\ud800[bold]b[/bold]\n")
    assert capsys.readouterr().out == "a\\x1b[31m\\x07\\u202e\\ud800[bold]b[/bold]\n\n"
    assert shown("Müller, 36.5 °C\n\t") == "Müller, 36.5 °C\n\t"


def sources() -> list[Path]:
    rooms = ("core", "conditioning", "modalities", "eval", "app")
    return [path for room in rooms for path in (ROOT / room).rglob("*.py") if "_polyclinic" not in path.parts]


def test_nothing_else_prints() -> None:
    own = {"core/text.py", "core/progress.py"}  # the latter moves the cursor itself
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if re.search(r"(?<![\w.])print\(", path.read_text())
    }
    assert found <= own


JOINED = re.compile(r"""/ f?["'][^"']*\{(?:assay|record|patient_id|card\.\w+|resource_type)\b""")


def test_nothing_joins_names_of_others_to_a_folder_without_the_check() -> None:
    """Assays, records, names of cards and the like stand in a path only as file_name() or below() gives them."""
    allowed = {"conditioning/dataset/split.py"}  # records that below() has checked
    found = [
        f"{path.relative_to(ROOT).as_posix()}: {line.strip()}"
        for path in sources()
        if path.relative_to(ROOT).as_posix() not in allowed
        for line in path.read_text().splitlines()
        if JOINED.search(line)
    ]
    assert not found, found
    assert JOINED.search('folder / f"{assay}.zarr"')
