"""A push of a released cohort: verified before, signed in its audit log; what was changed or refused stays."""

from hashlib import sha256
from pathlib import Path

import pytest

from polyclinic.app.governance import verification
from polyclinic.app.governance.release import ReleaseContext, release
from polyclinic.app.push.run import push
from polyclinic.core.cohort.journal import PUSHED, Journal
from polyclinic.core.cohort.signing import read_public
from polyclinic.core.errors import InputError, Refused


def context(place: Path) -> ReleaseContext:
    return ReleaseContext.load(str(place / "lab.yaml"), place / "steward.pem")


def test_a_released_cohort_goes_with_its_papers_and_is_verified_there(
    place: Path, measured: tuple[list[str], list[float]], tmp_path: Path
) -> None:
    release(place / "c", context(place))
    there = tmp_path / "there"
    public = str(place / "steward.pem.pub")
    tally = push(place / "c", there.as_uri(), key=public, sign=place / "steward.pem")
    assert tally.sent == tally.total
    assert verification.verify(there, read_public(public)).problems == []
    event = Journal(place / "c").events()[-1]
    assert (event.event, event.details["to"], event.details["there"]) == (PUSHED, there.as_uri(), tally.sent)
    journal = place / "c.push.jsonl"
    assert event.details["journal_head"] == sha256(journal.read_bytes().splitlines()[-1]).hexdigest()
    assert verification.verify(place / "c", read_public(public)).problems == []
    with pytest.raises(Refused, match=r"signed by .*, not by the key given"):
        push(place / "c", (tmp_path / "other").as_uri(), key=str(place / "stranger.pem.pub"))
    with pytest.raises(InputError, match="leave it or unreleased out"):
        push(place / "c", there.as_uri(), key=public, unreleased=True)


def test_a_cohort_that_was_changed_since_stays(
    place: Path, measured: tuple[list[str], list[float]], tmp_path: Path
) -> None:
    release(place / "c", context(place))
    next(path for path in (place / "c").rglob("*.csv")).write_text("x")
    with pytest.raises(Refused, match=r"not as it was released: .*: changed since it was written"):
        push(place / "c", (tmp_path / "there").as_uri())
    assert not (tmp_path / "there").exists()


def test_a_cohort_in_quarantine_stays_even_unreleased(
    place: Path, measured: tuple[list[str], list[float]], tmp_path: Path
) -> None:
    measured[1][:] = [0.99]
    release(place / "c", context(place))
    with pytest.raises(Refused, match="in quarantine"):
        push(place / "c", (tmp_path / "there").as_uri(), unreleased=True)
