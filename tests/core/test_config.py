"""Files that people write: a key twice, numbers and nesting beyond all measure, and what is no file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from polyclinic.core.config import FieldMap, Settings, parse, read_json, read_yaml
from polyclinic.core.errors import InputError
from polyclinic.core.registry import load_modality


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key 'a' stands there twice.*line 3"),
        ("outer: {a: 1, a: 2}", "the key 'a' stands there twice"),
        ("- {1: x, 1: y}", "the key 1 stands there twice"),
        ("a: " + "9" * 5000, "digits"),
        ("[" * 3000 + "]" * 3000, "not valid YAML"),
        ("a: 2024-13-45", "not valid YAML.*month"),
        ("a: [1", "not valid YAML"),
    ],
)
def test_yaml_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        read_yaml(path)
    assert "\n" not in str(refused.value)


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(InputError, match="expected a YAML file"):
            read_yaml(path)


@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), st.integers()))
def test_a_mapping_is_read_as_it_stands(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, int]
) -> None:
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text("x: 1\n" + "".join(f'"k{key}": {value}\n' for key, value in values.items()))
    assert read_yaml(path) == {"x": 1, **{f"k{key}": value for key, value in values.items()}}


def test_a_merged_mapping_may_say_a_key_again(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base: &b {a: 1, c: 3}\nown: {<<: *b, a: 2}\n")
    assert read_yaml(path)["own"] == {"a": 2, "c": 3}


def test_json_that_is_nested_too_deeply_is_a_value_error() -> None:
    assert read_json('{"a": [1]}') == {"a": [1]}
    for text in ("[" * 200_000, '{"a":' * 100_000, "9" * 5000, "{"):
        with pytest.raises(ValueError, match=r"nested too deeply|digits|Expecting"):
            read_json(text)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("edf", ["edf"]), ("edf, wfdb", ["edf", "wfdb"]), (["a, b"], ["a, b"]), ("a, b of c", ["a, b of c"]),
        ("age in (1, 2)", ["age in (1, 2)"]),
    ],
)  # fmt: skip
def test_one_text_stands_for_a_list_of_one(given: str | list[str], names: list[str]) -> None:
    class Several(Settings):
        names: list[str]
        also: tuple[str, ...] = ()

    found = parse(Several, {"names": given, "also": given}, "x")
    assert (found.names, found.also) == (names, tuple(names))
    with pytest.raises(InputError, match=r"names: .*, got ''"):
        parse(Several, {"names": ""}, "x")


@pytest.mark.parametrize(
    ("name", "given", "formats"),
    [
        ("signals", "edf", ("wfdb", "edf")), ("signals", ["edf", "wfdb"], ("edf", "wfdb")),
        ("imaging", "dicom", ("dicom",)), ("records", "csv", ["csv"]), ("wearable", "fit,xdf", ("fit", "xdf")),
    ],
)  # fmt: skip
def test_the_native_format_is_written_unasked(name: str, given: object, formats: object) -> None:
    assert load_modality(name, {"formats": given}).options.formats == formats


class Every(Settings):
    """A setting of each kind."""

    a: tuple[int, ...] = ()
    b: int = Field(default=1, ge=1)
    c: float = 0
    d: bool = False
    e: str = ""
    f: dict[str, int] = Field(default_factory=dict)
    g: int | tuple[int, ...] = 1
    h: tuple[int, int] = (0, 0)
    interval: int = 0
    keys: dict[int, str] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a": 5}, "a: expected a list, got 5"),
        ({"b": "x"}, "b: expected a whole number, got 'x'"),
        ({"b": 1.5}, "b: expected a whole number, got 1.5"),
        ({"b": 0}, "b: expected a number of 1 or more, got 0"),
        ({"c": "x"}, "c: expected a number, got 'x'"),
        ({"d": 7}, "d: expected true or false, got 7"),
        ({"e": 5}, "e: expected text, got 5"),
        ({"f": 5}, "f: expected a mapping, got 5"),
        ({"g": "x"}, "g: expected a whole number, got 'x'"),
        ({"h": [1, 2, 3]}, "h: expected at most 2 values, got [1, 2, 3]"),
        ({"keys": {"a": "lung"}}, "keys.a: expected a whole number, got 'a'"),
        ({"interval": "x"}, "interval: expected a whole number, got 'x'"),
    ],
)
def test_a_wrong_setting_is_told_in_the_words_of_yaml(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as told:
        parse(Every, values, "here")
    assert str(told.value) == f"here: {said}"


def test_a_pattern_that_is_none_is_told() -> None:
    with pytest.raises(InputError, match=r"here: pattern: expected a regular expression, got '\('"):
        parse(FieldMap, {"column": "findings", "pattern": "("}, "here")
