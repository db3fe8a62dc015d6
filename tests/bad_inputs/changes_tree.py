"""Changes of settings in YAML and JSON: every value by many others, keys added, doubled and left out, odd syntax."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from polyclinic.core.text import shown

from .case import HARMLESS, OTHER, REFUSED, Change, Edit
from .changes_files import content

Place = tuple[str | int, ...]
MARK = "@@value@@"
NUMBERS = {  # name -> (YAML, JSON, what must become of it)
    "NaN": (".nan", "NaN", REFUSED),
    "infinity": (".inf", "Infinity", REFUSED),
    "-infinity": ("-.inf", "-Infinity", REFUSED),
    "1e300": ("1.0e+300", "1e300", REFUSED),
    "1e400": ("1.0e+400", "1e400", REFUSED),
    "2^70": (str(2**70), str(2**70), REFUSED),
    "five thousand digits": ("9" * 5000, "9" * 5000, REFUSED),
    "-1": ("-1", "-1", OTHER),
    "0": ("0", "0", OTHER),
    "nothing": ("null", "null", OTHER),
    "empty text": ("''", '""', REFUSED),
    "a word": ("many", '"many"', REFUSED),
    "a list": ("[1, 2]", "[1, 2]", REFUSED),
    "a mapping": ("{a: 1}", '{"a": 1}', REFUSED),
    "a date": ("2024-02-30", '"2024-02-30"', REFUSED),
    "yes": ("true", "true", OTHER),
    "0.5": ("0.5", "0.5", OTHER),
}
TEXTS = {
    "empty text": ("''", '""', OTHER),
    "nothing": ("null", "null", OTHER),
    "a number": ("5", "5", OTHER),
    "yes": ("true", "true", OTHER),
    "a list": ("[a]", '["a"]', OTHER),
    "a mapping": ("{a: 1}", '{"a": 1}', REFUSED),
    "a path upwards": ("../../evil", '"../../evil"', OTHER),
    "an absolute path": ("/etc/hostname", '"/etc/hostname"', OTHER),
    "dots": ("'..'", '".."', OTHER),
    "a device": ("/dev/zero", '"/dev/zero"', OTHER),
    "escapes": ('"a\\e[31mred\\e]0;title\\a"', '"a\\u001b[31mred"', OTHER),
    "markup": ("'[bold red]x[/bold red][/]'", '"[bold]x[/bold][/]"', OTHER),
    "three hundred letters": ("x" * 300, f'"{"x" * 300}"', OTHER),
    "a zero byte": ('"a\\0b"', '"a\\u0000b"', OTHER),
    "two lines": ('"a\\nb"', '"a\\nb"', OTHER),
    "HTML": ("'<script>alert(1)</script>'", '"<script>alert(1)</script>"', OTHER),
    "a right-to-left mark": ('"a\\u202Eb"', '"a\\u202eb"', OTHER),
    "a lone surrogate": ('"\\uD800"', '"\\ud800"', OTHER),
}
WHOLES = {
    "nothing": ("null", "null", OTHER),
    "empty text": ("''", '""', REFUSED),
    "a number": ("5", "5", REFUSED),
    "a word": ("abc", '"abc"', OTHER),
    "an empty list": ("[]", "[]", OTHER),
    "an empty mapping": ("{}", "{}", OTHER),
    "NaN": (".nan", "NaN", REFUSED),
    "a list of lists": ("[[[]]]", "[[[]]]", REFUSED),
    "a mapping of mappings": ("{a: {b: {c: 1}}}", '{"a": {"b": {"c": 1}}}', REFUSED),
}


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Every place of nested settings below the root."""
    inner: Sequence[tuple[str | int, Any]] = (
        list(value.items())
        if isinstance(value, Mapping)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for key, part in inner:
        yield (*here, key)
        yield from places(part, (*here, key))


def at(value: Any, place: Place) -> Any:
    """The part at a place."""
    for key in place:
        value = value[key]
    return value


def put(value: Any, place: Place, part: Any) -> Any:
    """A copy with another part at a place."""
    out = deepcopy(value)
    at(out, place[:-1])[place[-1]] = part
    return out


def without(value: Any, place: Place) -> Any:
    """A copy without a place."""
    out = deepcopy(value)
    del at(out, place[:-1])[place[-1]]
    return out


def _words(place: Place, file: str) -> tuple[str, ...]:
    return (Path(file).name, *(str(key) for key in place if isinstance(key, str)))


@cache
def _loaded(text: str) -> Any:
    """Of YAML or JSON; None where it is neither."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return None


def _path(file: str, text: str) -> tuple[str | tuple[str, ...], ...]:
    """The path that the value makes in the file's folder, or the value beside another file of the folder."""
    folder = str(Path(file).parent)
    value = _loaded(text)
    if folder == "." or not isinstance(value, str):
        return ()
    path = value if value.startswith("/") else f"{folder}/{' '.join(shown(value).split())[:40]}"
    return (*((path,) if value.strip() else ()), (f"{folder}/", shown(repr(value))))


def of_values(
    file: str, values: Mapping[str, Any], free: Sequence[str] = (), as_json: bool = False
) -> list[Change]:
    """Each value by each other one. Places below a key in `free` may hold anything; there nothing must be refused."""
    changes = []
    for place in places(values):
        part = at(values, place)
        if isinstance(part, bool) or part is None:
            table = WHOLES
        elif isinstance(part, int | float):
            table = NUMBERS
        else:
            table = TEXTS if isinstance(part, str) else WHOLES
        for name, (in_yaml, in_json, expect) in table.items():
            loose = bool(set(map(str, place)) & set(free))
            text = in_json if as_json else in_yaml
            changes.append(
                Change(
                    f"{file}: {'.'.join(map(str, place))} is {name}",
                    OTHER if loose else expect,
                    _with_raw(file, put(values, place, MARK), text, as_json),
                    (*_words(place, file), *_path(file, text)),
                )
            )
    return changes


def of_keys(
    file: str, values: Mapping[str, Any], free: Sequence[str] = (), as_json: bool = False
) -> list[Change]:
    """Keys left out, unknown ones added in every mapping, and, in YAML, one twice."""
    changes = []
    for place in [(), *places(values)]:
        part = at(values, place)
        words = _words(place, file)
        loose = bool(set(map(str, place)) & set(free))
        where = ".".join(map(str, place)) or "the whole"
        if place:
            changes.append(
                Change(
                    f"{file}: without {where}", OTHER, _written(file, without(values, place), as_json), words
                )
            )
        if isinstance(part, Mapping):
            unknown = {**part, "unknown_key_xyz": 1}
            whole = put(values, place, unknown) if place else unknown
            changes.append(
                Change(
                    f"{file}: unknown key in {where}",
                    OTHER if loose else REFUSED,
                    _written(file, whole, as_json),
                    (*words, "unknown_key_xyz"),
                )
            )
            if part and not as_json:
                twice = {**part, MARK: next(iter(part.values()))}
                whole = put(values, place, twice) if place else twice
                key = yaml.safe_dump(next(iter(part))).splitlines()[0]
                changes.append(
                    Change(
                        f"{file}: a key twice in {where}", REFUSED, _with_raw(file, whole, key, False), words
                    )
                )
    return changes


def of_syntax(file: str, says: tuple[str, ...] = ()) -> list[Change]:
    """YAML that is none, too deep, too long, or that would run code."""
    names = says or (Path(file).name,)
    texts = {
        "too deep": "a: " + "[" * 20_000 + "]" * 20_000,
        "too deep in mappings": "a: " + "{a: " * 5000 + "1" + "}" * 5000,
        "two documents": "a: 1\n---\nb: 2\n",
        "a list": "- 1\n- 2\n",
        "a word": "hello\n",
        "a number": "5\n",
        "nothing": "",
        "comments": "# x\n",
        "a tab": "a:\n\tb: 1\n",
        "an open quote": 'a: "b\n',
        "an open bracket": "a: [1, 2\n",
        "an unknown anchor": "a: *b\n",
        "an anchor of itself": "a: &a [*a]\n",
        "code": "a: !!python/object/apply:os.system ['echo']\n",
        "a tag": "a: !x 1\n",
        "many anchors": "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
        ),
        "keys that are no text": "? [1, 2]\n: 3\n",
        "a merge of a word": "<<: x\na: 1\n",
        "a bad date": "a: 2024-13-45\n",
        "a sexagesimal giant": "a: 1" + ":59" * 300 + "\n",
        "a binary": "a: !!binary ====\n",
        "a set": "a: !!set {b, c}\n",
    }
    return [
        Change(f"{file} is {name}", REFUSED, content(file, lambda _, text=text: text.encode()), names)  # type: ignore[misc]
        for name, text in texts.items()
    ]


def of_json_syntax(file: str, says: tuple[str, ...] = ()) -> list[Change]:
    """JSON that is none, too deep, or has numbers without end."""
    names = says or (Path(file).name,)
    texts = {
        "too deep": "[" * 100_000 + "]" * 100_000,
        "open": '{"a": 1',
        "a list": "[]",
        "a word": '"x"',
        "a number": "5",
        "null": "null",
        "an empty mapping": "{}",
        "digits": '{"format": ' + "9" * 5000 + "}",
        "NaN": '{"format": NaN}',
        "YAML": "format: 1\n",
        "a trailing comma": '{"format": 1,}',
        "a lone surrogate": '{"format": "\\ud800"}',
    }
    return [
        Change(f"{file} is JSON {name}", REFUSED, content(file, lambda _, text=text: text.encode()), names)  # type: ignore[misc]
        for name, text in texts.items()
    ]


def harmless(file: str, values: Mapping[str, Any]) -> list[Change]:
    """The same settings, written otherwise."""
    return [
        Change(f"{file}: written as JSON", HARMLESS, content(file, lambda _: json.dumps(values).encode())),
        Change(
            f"{file}: keys sorted",
            HARMLESS,
            content(file, lambda _: yaml.safe_dump(values, sort_keys=True).encode()),
        ),
    ]


def _with_raw(file: str, values: Any, text: str, as_json: bool) -> Edit:
    dumped = json.dumps(values) if as_json else yaml.safe_dump(values, sort_keys=False, width=10_000)
    raw = dumped.replace(f'"{MARK}"', text).replace(f"'{MARK}'", text).replace(MARK, text)
    return content(file, lambda _: raw.encode())


def _written(file: str, values: Any, as_json: bool) -> Edit:
    text = json.dumps(values) if as_json else yaml.safe_dump(values, sort_keys=False)
    return content(file, lambda _: text.encode())
