"""Tutorials, and the how-to of a trial, run as printed: files are written, commands and Python run in one folder."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
PAGES = [*TUTORIALS, DOCS / "how-to" / "trial.md"]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


DRIVER = """
import json, os, pathlib, subprocess, sys
session = {"__name__": "__main__"}
for language, title, body in json.load(sys.stdin):
    if title:
        pathlib.Path(title).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(title).write_text(body)
    elif language == "python":
        exec(compile(body, "<python block>", "exec"), session)
    elif language == "sh":
        subprocess.run(["bash", "-euo", "pipefail", "-c", body + "\\nenv -0 > ../env"], check=True)
        os.environ.update(line.split("=", 1) for line in pathlib.Path("../env").read_text().split("\\0") if line)
"""  # Python blocks share one session, and shells what they export, as a reader's would


@pytest.mark.parametrize("tutorial", PAGES, ids=lambda path: path.stem)
def test_tutorial(tutorial: Path, tmp_path: Path) -> None:
    programs, place = tmp_path / "bin", tmp_path / "place"
    programs.mkdir()
    place.mkdir()
    for name, words in (("polyclinic", " -m polyclinic"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable}{words} "$@"\n')
        (programs / name).chmod(0o755)
    blocks = BLOCK.findall(tutorial.read_text(encoding="utf-8"))
    assert sum(body.count("polyclinic ") for _, _, body in blocks) > 2
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], cwd=place, input=json.dumps(blocks), capture_output=True, text=True,
        check=False, env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_there_are_three() -> None:
    assert [path.stem for path in TUTORIALS] == ["first-cohort", "own-images", "private-cohort"]
