"""Two builds of Polyclinic that work alternately, each in processes of its own: what throughput.py measures with."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Answers a line {"do": ..., ...} with a line of figures; imports what both builds have, by their names of it.
WORKER = """
import inspect, json, pathlib, resource, shutil, sys, time
import torch
torch.set_num_threads(1)
from polyclinic import Population, ProfileEncoder, load_modality
try:
    from polyclinic.core.cohort.cohort import Cohort
    from polyclinic.app.engines.generation import header
except ImportError:
    from polyclinic.core.cohort import Cohort
    from polyclinic.app.engine import header
from polyclinic.core.modality import in_order
from polyclinic.core.pipeline import generate, load_generators

population, encoder = Population.load("cardio_oncology"), ProfileEncoder()
modalities = in_order([load_modality(name) for name in ("imaging", "signals", "omics", "records")])
generators = load_generators(modalities, encoder)
print(json.dumps({"ready": time.process_time()}), flush=True)
for line in sys.stdin:
    told = json.loads(line)
    folder, many = pathlib.Path(told["folder"]), told["patients"]
    shutil.rmtree(folder, ignore_errors=True)
    where = [folder] if "folder" in inspect.signature(header).parameters else []
    settings = header(population, modalities, many, told["seed"], *where)
    cohort = Cohort.create(folder, settings)
    drawing = writing = 0.0
    with cohort.writing():
        for number in cohort.missing():
            began = time.process_time()
            profiles = [population.patient(i, told["seed"]) for i in cohort.span(number)]
            made = list(generate(profiles, modalities, encoder, told["seed"], 16, generators))
            between = time.process_time()
            cohort.write_slice(number, made, modalities)
            drawing, writing = drawing + between - began, writing + time.process_time() - between
        began = time.process_time()
        cohort.finish(modalities)
        joining = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"drawing": drawing, "writing": writing, "joining": joining, "peak": peak}), flush=True)
"""
# What `pip install` of a build brings, from the requirements of its packages: the bytes of each, and who asks for it.
WEIGHT = """
import importlib.metadata as about, json, os, sys
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
waiting = [("polyclinic", frozenset(), "")]
found, done, askers = {}, set(), {}
while waiting:
    name, extras, asker = waiting.pop()
    askers.setdefault(name, set()).add(asker)
    if (name, extras) in done:
        continue
    done.add((name, extras))
    try:
        package = found.setdefault(name, about.distribution(name))
    except about.PackageNotFoundError:
        print(f"{name} is not here", file=sys.stderr)
        continue
    for text in package.requires or ():
        asked = Requirement(text)
        if asked.marker is None or any(asked.marker.evaluate({"extra": e}) for e in extras or {""}):
            waiting.append((canonicalize_name(asked.name), frozenset(asked.extras), name))
sizes = {}
for name, package in found.items():
    sizes[name] = 0
    for file in package.files or ():
        try:
            sizes[name] += os.stat(file.locate()).st_size
        except OSError:
            pass
print(json.dumps([[name, size, sorted(askers[name] - {""})] for name, size in sizes.items()]))
"""


# Parts of a package may be links, where a working tree is installed
COMPILE = """
import compileall, pathlib, polyclinic
for part in pathlib.Path(polyclinic.__path__[0]).iterdir():
    if part.is_dir():
        compileall.compile_dir(part.resolve(), quiet=2)
    elif part.suffix == ".py":
        compileall.compile_file(part, quiet=2)
"""


@dataclass(frozen=True)
class Build:
    """A name, the Python that runs it, and its environment variables."""

    name: str
    python: Path
    environment: dict[str, str]

    def run(self, *words: str, cwd: Path) -> tuple[float, float, str]:
        """Processor seconds and peak MB (the largest process) of a Python command, all its processes; what it printed.

        Raises RuntimeError with its last line where it fails.
        """
        log = cwd / f"{self.name}.log"
        with log.open("w") as out:
            child = subprocess.Popen(
                [str(self.python), *words],
                cwd=cwd,
                env=self.environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said = log.read_text()
        if child.returncode not in (0, 3):  # 3: a gate refused, which it does after its work
            raise RuntimeError(f"{self.name}: {' '.join(words)[:80]}: {said.strip().splitlines()[-1:]}")
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said

    def command(self, *words: str, cwd: Path) -> tuple[float, float]:
        """The same for a command line of Polyclinic, without its words."""
        return self.run("-m", "polyclinic", *words, cwd=cwd)[:2]

    def weight(self, cwd: Path) -> list[tuple[str, int, list[str]]]:
        """What it brings, itself included, the heaviest first: name, bytes, which packages ask for it."""
        found = json.loads(self.run("-c", WEIGHT, cwd=cwd)[2].strip().splitlines()[-1])
        return sorted(((name, size, askers) for name, size, askers in found), key=lambda one: -one[1])


class Worker:
    """A process of a build that has loaded everything and draws cohorts on demand."""

    def __init__(self, build: Build, cwd: Path) -> None:
        self.folder = cwd / f"{build.name}-cohort"
        self.process = subprocess.Popen(
            [str(build.python), "-c", WORKER], cwd=cwd, env=build.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.ready = float(self._told()["ready"])

    def draw(self, patients: int, seed: int) -> dict[str, float]:
        """Processor seconds of `drawing`, `writing` and `joining` that many patients, and `peak` MB so far."""
        assert self.process.stdin is not None
        told = {"folder": str(self.folder), "patients": patients, "seed": seed}
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return self._told()

    def _told(self) -> dict[str, float]:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError("a worker ended before it answered")

    def end(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def environment() -> dict[str, str]:
    """That of this process, without what leads to other packages; one thread."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def present() -> Build:
    """The build that runs this script, compiled to bytecode, as pip compiles the old one: else each start would."""
    build = Build(
        "present", Path(sys.executable), {**environment(), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    )
    with tempfile.TemporaryDirectory() as place:
        build.run("-c", COMPILE, cwd=Path(place))
    return build


def built(commit: str, place: Path, full: bool) -> Build:
    """A commit of this repository in an environment of its own below `place`, which is used again if it is there.

    Its dependencies are those that are installed here (a `.pth` file); with `full` pip downloads them anew.
    """
    home, checkout = place / f"env-{commit}", place / f"tree-{commit}"
    python = home / "bin" / "python"
    if not (home / "whole").exists():
        if not checkout.exists():
            checkout.mkdir(parents=True)
            files = subprocess.run(
                ["git", "-C", str(ROOT), "archive", commit], check=True, capture_output=True
            ).stdout
            subprocess.run(["tar", "-x", "-C", str(checkout)], input=files, check=True)
        install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run(
            [sys.executable, "-m", "venv", *([] if full else ["--without-pip"]), str(home)], check=True
        )
        if full:
            subprocess.run([str(python), *install[1:], str(checkout)], check=True)
        else:
            site = next((home / "lib").glob("python*")) / "site-packages"
            (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
            subprocess.run(
                [*install, "--no-deps", "--no-build-isolation", "--target", str(site), str(checkout)],
                check=True, env=environment(),
            )  # fmt: skip
        (home / "whole").touch()
    return Build(commit, python, environment())


def alternated(measures: Sequence[object], pairs: int) -> list[list[object]]:
    """What each of some callables gives, `pairs` times, by turns."""
    found: list[list[object]] = [[] for _ in measures]
    for turn in range(pairs):
        order = range(len(measures)) if turn % 2 == 0 else reversed(range(len(measures)))
        for place in order:
            found[place].append(measures[place]())  # type: ignore[operator]
    return found


def spent(began: float) -> float:
    """Processor seconds of this process since then."""
    return time.process_time() - began
