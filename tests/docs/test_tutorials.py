"""The tutorials run as they are printed: files are written, commands and Python run in order in one empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[2] / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def script_of(text: str, folder: Path) -> str:
    """One shell script of all blocks; Python blocks without a title share one session, as a reader's would."""
    lines, session = ["set -euo pipefail"], ""
    for k, (language, title, body) in enumerate(BLOCK.findall(text)):
        if title:
            lines.append(f"mkdir -p $(dirname {title}); cat > {title} <<'THE_END'\n{body}THE_END")
        elif language == "python":
            session += body
            (folder / f"session{k}.py").write_text(session)
            lines.append(f"python {folder}/session{k}.py")
        elif language == "sh":
            lines.append(body)
    return "\n".join(lines)


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial(tutorial: Path, tmp_path: Path) -> None:
    programs, place = tmp_path / "bin", tmp_path / "place"
    programs.mkdir()
    place.mkdir()
    for name, words in (("polyclinic", " -m polyclinic"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        (programs / name).chmod(0o755)
    script = script_of(tutorial.read_text(encoding="utf-8"), programs)
    assert script.count("polyclinic ") > 3
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_there_are_three() -> None:
    assert [path.stem for path in TUTORIALS] == ["first-cohort", "own-images", "private-cohort"]
