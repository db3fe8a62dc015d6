"""An append-only file under bad luck: a full disk, a process that dies, a file that was cut or emptied."""

import errno
import json
import resource
import signal
from pathlib import Path

import pytest

from polyclinic.core.cohort.chain import Chain
from polyclinic.core.errors import InputError
from polyclinic.core.remarks import DataWarning, remarks


def written(path: Path, *values: int) -> Chain:
    chain = Chain(path, "ledger", kept_head=True)
    for value in values:
        with chain.held() as held:
            held.append({"value": value})
    return chain


def values(chain: Chain) -> list[int]:
    return [line["value"] for line in chain.lines()]


@pytest.mark.parametrize("fails", ["os.fsync", "polyclinic.core.cohort.chain.write_atomic"])
def test_a_full_disk_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    chain = written(tmp_path / "ledger.jsonl", 1)
    before = chain.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fails, full)
        with pytest.raises(InputError, match="No space left on device"):
            written(chain.path, 2)
    assert chain.path.read_bytes() == before
    assert values(written(chain.path, 3)) == [1, 3]


def test_half_a_line_is_taken_back(tmp_path: Path) -> None:
    chain = written(tmp_path / "ledger.jsonl", 1)
    before = chain.path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 30, limits[1]))  # room for a part of the line
    try:
        with pytest.raises(InputError, match="nothing was added"):
            written(chain.path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert chain.path.read_bytes() == before
    assert values(written(chain.path, 3)) == [1, 3]


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_torn_last_line_is_set_aside(tmp_path: Path, share: float) -> None:
    chain = written(tmp_path / "ledger.jsonl", 1, 2)
    text = chain.path.read_bytes()
    last = text.splitlines(keepends=True)[-1]
    torn = last[: max(1, int(share * (len(last) - 1)))]
    with chain.path.open("ab") as file:
        file.write(torn)
    with pytest.warns(DataWarning, match="no end"):
        assert values(chain) == [1, 2]
    with remarks(lambda _: None):
        assert values(written(chain.path, 3)) == [1, 2, 3]
    assert chain.path.with_name("ledger.jsonl.torn").read_bytes() == torn + b"\n"
    assert chain.path.read_bytes().startswith(text)


def test_a_process_that_dies_before_the_head_loses_nothing(tmp_path: Path) -> None:
    chain = written(tmp_path / "ledger.jsonl", 1)
    head = tmp_path / "ledger.jsonl.head"
    before = head.read_bytes()
    written(chain.path, 2)
    head.write_bytes(before)
    assert values(chain) == [1, 2]
    assert values(written(chain.path, 3)) == [1, 2, 3]


@pytest.mark.parametrize("left", [0, 1])
def test_a_file_cut_at_its_end_was_changed(tmp_path: Path, left: int) -> None:
    chain = written(tmp_path / "ledger.jsonl", 1, 2)
    lines = chain.path.read_bytes().splitlines(keepends=True)
    chain.path.write_bytes(b"".join(lines[:left]))
    for touch in (chain.lines, chain.head, lambda: written(chain.path, 3)):
        with pytest.raises(InputError, match=f"had 2 lines and has {left}"):
            touch()
    chain.path.unlink()
    with pytest.raises(InputError, match="had 2 lines and has 0"):
        chain.lines()


def test_another_history_of_the_same_length_was_changed(tmp_path: Path) -> None:
    chain, other = written(tmp_path / "ledger.jsonl", 1, 2), written(tmp_path / "other.jsonl", 1, 3)
    chain.path.write_bytes(other.path.read_bytes())
    with pytest.raises(InputError, match="line 2: the chain is broken"):
        chain.lines()


def test_who_holds_a_chain_next_notes_the_head_that_a_killed_process_did_not(tmp_path: Path) -> None:
    """Though nothing is added: else the last line could be cut unseen."""
    chain = written(tmp_path / "ledger.jsonl", 1)
    head = tmp_path / "ledger.jsonl.head"
    before = head.read_bytes()
    written(chain.path, 2)
    noted = head.read_bytes()
    head.write_bytes(before)
    (tmp_path / ".ledger.jsonl.head.part").write_bytes(noted[:5])
    with chain.held():
        pass
    assert head.read_bytes() == noted
    assert {path.name for path in tmp_path.iterdir()} == {"ledger.jsonl", "ledger.jsonl.head"}
    chain.path.write_bytes(chain.path.read_bytes().split(b"\n")[0] + b"\n")
    with pytest.raises(InputError, match="was changed"):
        chain.lines()


def test_a_damaged_head_is_said(tmp_path: Path) -> None:
    chain = written(tmp_path / "ledger.jsonl", 1)
    head = tmp_path / "ledger.jsonl.head"
    assert json.loads(head.read_text()) == {"lines": 1, "head": chain.head()}
    head.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        chain.lines()


def test_a_chain_without_a_head_beside_it_is_read(tmp_path: Path) -> None:
    chain = written(tmp_path / "ledger.jsonl", 1, 2)
    (tmp_path / "ledger.jsonl.head").unlink()  # as those of earlier versions
    with pytest.warns(DataWarning, match="is not there, so that nobody sees"):
        assert values(chain) == [1, 2]
    with remarks(lambda _: None):
        assert values(written(chain.path, 3)) == [1, 2, 3]
    assert values(chain) == [1, 2, 3]
