"""Progress of long work: silent when short, and a remaining time that is never below zero."""

import pytest

from polyclinic.core.progress import Progress, counted, remaining, spoken


def test_short_work_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted(range(100), 100, "read", "images")) == list(range(100))
    assert capsys.readouterr().err == ""


def test_long_work_says_how_far_it_is_once_a_minute_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    progress = Progress("read", "images", lambda: now[0])
    for done in range(0, 2001, 10):
        now[0] = float(done)
        progress.show(done, 1500)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "read 60 of 1,500 images, 24 min left"
    assert lines[-1] == "read 1,980 of 1,500 images, 0 s left"  # more than were announced
    assert len(lines) == 33


def test_the_remaining_time_is_never_negative() -> None:
    assert remaining(10, 5, 5) == 10
    assert remaining(10, 5, -3) == 0
    assert remaining(10, 0, 5) is None
    assert [spoken(s) for s in (0, 119, 600, 9000)] == ["0 s", "119 s", "10 min", "2.5 h"]
