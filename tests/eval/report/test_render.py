"""The report's templates: every name that comes from data is escaped, and an unknown name is an error."""

from collections.abc import Callable

import jinja2
import pytest

from polyclinic.eval.report.render import SHOWN, environment, section, shown

EVIL = "<script>alert('x')</script>\"'"


def test_names_of_data_sets_patients_and_fields_are_escaped(page_of: Callable[..., str]) -> None:
    plain, evil = page_of("NAME"), page_of(EVIL)
    assert "<script" not in evil
    assert EVIL not in evil
    assert evil.count("&lt;script&gt;") + evil.count("&lt;Script&gt;") >= plain.count("NAME") > 40
    assert len(evil.split("<")) == len(plain.split("<"))  # not one tag more


def test_an_unknown_name_in_a_template_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        section("privacy")


def test_a_long_list_says_how_many_more_there_are() -> None:
    assert shown(range(SHOWN + 3))[-2:] == [str(SHOWN - 1), "3 more are in scores.json."]
    assert shown(range(2)) == ["0", "1"]


def test_every_template_ships() -> None:
    names = {name.removesuffix(".html.j2") for name in environment().list_templates()}
    assert names == {"report", "view", "linkage", "rules", "privacy", "methods", "macros", "style.css"}
