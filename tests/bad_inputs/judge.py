"""Judge: what became of a case, by its exit code, its lines, its files, and what the valid input gave."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from .case import HARMLESS, OTHER, REFUSED, TOLD, Case

LONGEST = 2_000  # characters of a line that a person reads
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
COUNT = re.compile(r"(\d+) (rows|patients|records|values|messages)")
LINE = "polyclinic: "
GOOD = ("refused", "told", "harmless", "done")  # `done`: another input, which was taken as it is
BAD = (
    "traceback",
    "hang",
    "silent",
    "unclear",
    "half-written",
    "not run",
)  # `not run`: the case could not be made
Tree = Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code (None: killed), its text, and the files below its folder before and after."""

    code: int | None
    out: str
    err: str
    seconds: float
    before: Tree
    after: Tree

    @property
    def lines(self) -> list[str]:
        """Lines on stderr that the program says to its user."""
        return [line for line in self.err.splitlines() if line.startswith(LINE)]


@dataclass(frozen=True)
class Verdict:
    """One of GOOD or BAD, and why in words."""

    kind: str
    why: str

    @property
    def good(self) -> bool:
        """Whether nothing has to be mended."""
        return self.kind in GOOD


def judge(case: Case, found: Outcome, valid: Outcome) -> Verdict:
    """The verdict on a case, given what its base does without the change."""
    if found.code is None:
        return Verdict("hang", f"killed after {found.seconds:.0f} s of wall time")
    if "Traceback (most recent call last)" in found.err + found.out or found.code not in (0, 2, 3):
        last = (found.err.strip().splitlines() or ["nothing"])[-1]
        return Verdict("traceback", f"exit {found.code}: {last[:300]}")
    if strange := CONTROL.search(found.out + found.err):
        return Verdict("unclear", f"control character {strange[0]!r} in the text")
    new = [line for line in found.lines if _plain(line) not in {_plain(line) for line in valid.lines}]
    if found.code != 0:
        return _refused(case, found, new)
    wanted = [path for path in case.base.outputs if path in case.argv or path not in case.base.argv]
    if lost := [path for path in wanted if not _within(path, found.after)]:
        return Verdict("half-written", f"exit 0 without {lost[0]}")
    if strays := _strays(case, found):
        return Verdict("half-written", f"wrote {', '.join(strays[:3])}")
    return _done(case, found, valid, new)


def _refused(case: Case, found: Outcome, new: list[str]) -> Verdict:
    if found.before != found.after:
        changed = sorted(set(found.before.items()) ^ set(found.after.items()))
        return Verdict("half-written", f"exit {found.code}, and changed {changed[0][0]}")
    if not found.lines:
        return Verdict("unclear", f"exit {found.code} without a line: {found.err.strip()[-300:]!r}")
    said = found.lines[-1].removeprefix(LINE)
    if len(said) > LONGEST or len(said) < 10:
        return Verdict("unclear", f"a line of {len(said)} characters: {said[:200]}")
    if case.change.says and not any(names(said, word) for word in case.change.says):
        return Verdict("unclear", f"names none of {', '.join(map(str, case.change.says[:6]))}: {said[:300]}")
    return Verdict("refused", said)


def _done(case: Case, found: Outcome, valid: Outcome, new: list[str]) -> Verdict:
    expect = case.change.expect
    if new:
        if expect == REFUSED:
            return Verdict("silent", f"expected a refusal; went on, saying: {new[0][:300]}")
        return Verdict("told", new[0])
    if expect in (REFUSED, TOLD):
        return Verdict("silent", f"expected to be {expect}; nothing was said; {found.out.strip()[-200:]!r}")
    here, there = counts(found.out), counts(valid.out)
    if less := [name for name, count in there.items() if here.get(name, 0) < count]:
        return Verdict("silent", f"{less[0]}: {there[less[0]]} became {here.get(less[0], 0)} without a word")
    if expect == HARMLESS:
        same = _plain(found.out) == _plain(valid.out) or _hash(found.out) == _hash(valid.out) != ""
        if not same:
            return Verdict("silent", "expected the same result; it differs, and nothing was said")
        return Verdict("harmless", "the same result")
    assert expect == OTHER
    return Verdict("done", "taken as it is")


def names(said: str, word: str | tuple[str, ...]) -> bool:
    """Whether a line has a word (a file, a field) as a whole word, or its plural: `low` is not in `below`.

    Of a group of texts it has all, as they stand.
    """
    if isinstance(word, tuple):
        return all(text in said for text in word)
    return re.search(rf"(?<!\w){re.escape(word)}s?(?!\w)", said, re.IGNORECASE) is not None


def counts(text: str) -> dict[str, int]:
    """What the output counts, by noun, and the line's first word where that heads it, as `train:`."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        first = line.partition(" ")[0]
        first = first if first.endswith(":") else ""
        for number, noun in COUNT.findall(line):
            found[f"{first} {noun}".strip()] = int(number)
    return found


def _hash(text: str) -> str:
    found = re.search(r"^hash: (\w+)", text, re.MULTILINE)
    return found[1] if found else ""


def _plain(text: str) -> str:
    """Without what differs from run to run: numbers."""
    return re.sub(r"[\d.,]+", "#", text)


def _within(path: str, tree: Tree) -> bool:
    return any(name == path or name.startswith(f"{path}/") for name in tree)


def _strays(case: Case, found: Outcome) -> list[str]:
    """Files that the command wrote, changed or took away beside its outputs."""
    named = {os.path.normpath(word) for word in case.argv if word and word not in case.base.argv}
    allowed = (*case.base.outputs, *case.base.aside, *named)
    changed = {name for name, _ in set(found.before.items()) ^ set(found.after.items())}
    if "." in named:  # an output folder is asked for here
        changed = {name for name in changed if name.startswith("..")}
    above = {str(place) for path in named for place in Path(path).parents}  # folders that an output is in
    return sorted(
        name
        for name in changed - above
        if not any(name == path or name.startswith(f"{path}/") for path in allowed)
    )


def tree(folder: Path, home: Path) -> dict[str, str]:
    """Every path below a folder, seen from `home`: what it is, and a hash. Nothing but regular files is opened."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(place) / name
            mode = path.lstat().st_mode
            key = os.path.relpath(path, home)
            if stat.S_ISLNK(mode):
                found[key] = f"link to {path.readlink()}"
            elif stat.S_ISREG(mode):
                small = path.stat().st_size < 1 << 26
                found[key] = (
                    sha256(path.read_bytes()).hexdigest() if small else f"{path.stat().st_size} bytes"
                )
            else:
                found[key] = "folder" if stat.S_ISDIR(mode) else "special"
    return found
