"""A release that is killed at any file operation is finished by running it again, whether it passes or is refused."""

import os
import shutil
from pathlib import Path

import pytest

from polyclinic.app.governance import certificate, verification
from polyclinic.app.governance.release import ReleaseContext, release
from polyclinic.core.cohort import chain, quarantine
from polyclinic.core.cohort.journal import JUDGED, Journal

PASSES, REFUSED = 0.6, 0.99


def context(place: Path) -> ReleaseContext:
    return ReleaseContext.load(str(place / "lab.yaml"), place / "steward.pem")


class Killed(BaseException):
    """No clean-up of ours runs on it, as on SIGKILL."""


class Killer:
    """Ends the process, so to speak, at the n-th operation on a file; None never."""

    def __init__(self, at: int | None) -> None:
        self.at, self.count = at, 0

    def __call__(self) -> bool:
        """Whether to die now; write operations die half-way."""
        self.count += 1
        return self.count == self.at


def watch(patch: pytest.MonkeyPatch, killer: Killer) -> None:
    """Path.write_bytes, replace and unlink, and the writing of the chain."""

    def write_bytes(self: Path, content: bytes) -> int:
        if killer():
            with self.open("wb") as file:
                file.write(content[: len(content) // 2])
            raise Killed
        with self.open("wb") as file:
            return file.write(content)

    def dying(name: str, real):
        def do(self: Path, *args, **kwargs):
            if killer():
                raise Killed
            return real(self, *args, **kwargs)

        patch.setattr(Path, name, do)

    patch.setattr(Path, "write_bytes", write_bytes)
    dying("replace", Path.replace)
    dying("unlink", Path.unlink)
    sync = os.fsync

    def fsync(number: int) -> None:
        if killer():  # the line is there, without its end
            os.ftruncate(number, os.fstat(number).st_size - 9)
            raise Killed
        sync(number)

    patch.setattr(chain.os, "fsync", fsync)


def operations(place: Path, auc: float, measured) -> int:
    """How many there are in a release that nobody kills."""
    measured[1][:] = [auc]
    shutil.copytree(place, place.parent / "whole")
    killer = Killer(None)
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, killer)
        release(place.parent / "whole" / "c", context(place))
    return killer.count


@pytest.mark.filterwarnings("ignore:.*no end")  # the torn line is remarked
@pytest.mark.parametrize("auc", [PASSES, REFUSED], ids=["passes", "refused"])
def test_a_killed_release_is_finished_by_the_next(place, measured, auc):
    count = operations(place, auc, measured)
    assert count > 10
    for at in range(1, count + 1):
        own = place.parent / f"at{at}"
        shutil.copytree(place, own)
        measured[1][:] = [auc]
        with pytest.MonkeyPatch.context() as patch:
            watch(patch, Killer(at))
            with pytest.raises(Killed):
                release(own / "c", context(own))
        outcome = release(own / "c", context(own))
        assert outcome.passed == (auc == PASSES), f"killed at {at}"
        paper = certificate.read(own / "c")
        assert paper["verdict"]["passed"] == outcome.passed, f"killed at {at}"
        marked = (own / "c" / quarantine.QUARANTINE).exists()
        assert marked == (not outcome.passed), f"killed at {at}"
        problems = verification.verify(own / "c").problems
        if outcome.passed:
            assert problems == [], f"killed at {at}"
        else:
            assert all("says refused" in problem for problem in problems), f"killed at {at}: {problems}"
        verdicts = {event.details["passed"] for event in Journal(own / "c").events() if event.event == JUDGED}
        assert verdicts == {outcome.passed}
        assert not list((own / "c").glob(".*.part"))


def test_a_refusal_without_papers_or_figures_stands(place, measured):
    measured[1][:] = [REFUSED, PASSES]
    release(place / "c", context(place))
    for name in ("certificate.json", "certificate.dsse.json", "quarantine.json", "scores.json"):
        (place / "c" / name).unlink(missing_ok=True)
    assert not release(place / "c", context(place)).passed
    assert (place / "c" / "quarantine.json").exists()
    assert measured[0] == ["c"], "it was measured once"
