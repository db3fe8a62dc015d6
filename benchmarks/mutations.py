"""Whether the tests can fail: lines that matter are changed one at a time, and the tests that guard them must see it.

    python benchmarks/mutations.py [--quick] [--only WORD] [--jobs N]

Each mutation is applied to a copy of the sources in a temporary folder, where the named tests run. A text that is no
longer in its file is an error. Without any mutation the same tests must pass. --quick stops a test file at its first
failure, as the full run does, but leaves out the check of the unmutated tests. --data is accepted for uniformity and
not used. Exits 1 when a mutation survives. Bar: all are caught.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("app", "core", "conditioning", "modalities", "eval", "configs")
TREE = (*ROOMS, "tests", "pyproject.toml", "docs", "README.md")
CAUGHT, SURVIVED, BROKEN = "caught", "SURVIVED", "tests did not run"

PRIVACY = "tests/core/dp/test_privacy.py"
LEDGER = (
    f"{PRIVACY}::test_the_ledger_adds_up_and_refuses_the_last_straw",
    f"{PRIVACY}::test_a_tampered_ledger_is_found",
)
CLIP = (
    f"{PRIVACY}::test_each_patient_is_clipped",
    f"{PRIVACY}::test_the_sum_of_long_gradients_is_as_long_as_the_bound_says",
)
NOISE = (f"{PRIVACY}::test_noise_is_drawn_once_a_step_and_as_wide_as_planned",)
STATISTICS = ("tests/core/dp/test_dp_statistics.py",)
SEEDS = ("tests/core/test_seeds.py",)
SPLIT = ("tests/conditioning/dataset/test_split.py",)
DOOR = ("tests/app/stream/test_server_door.py::test_host_and_origin_are_checked",)
TOKEN = ("tests/app/stream/test_server_door.py::test_beyond_loopback_a_token_is_required",)
CHAIN = ("tests/core/cohort/test_chain.py",)
GATE = ("tests/eval/test_gate.py",)
LAYOUT = ("tests/modalities/signals/test_layout.py",)
RELEASE = "tests/app/governance/test_release.py"


@dataclass(frozen=True)
class Mutation:
    """What is changed, where, and which tests guard it."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation("no clipping of gradients", "core/dp/clipping.py",
             "factors = (max_norm / norms.clamp(min=1e-12)).clamp(max=1.0)", "factors = torch.ones_like(norms)", CLIP),
    Mutation("short gradients are enlarged", "core/dp/clipping.py", ".clamp(max=1.0)\n", "\n",
             ("tests/core/dp/test_clipping.py::test_agrees_with_a_row_at_a_time",)),
    Mutation("clip bound of 2C in the step", "core/dp/dpsgd.py",
             "clipped_sum(self.plan.max_grad_norm)", "clipped_sum(2 * self.plan.max_grad_norm)", CLIP),
    Mutation("no clipping of rows in statistics", "core/dp/dp_statistics.py",
             "np.maximum(1.0, np.linalg.norm(rows, axis=1, keepdims=True))",
             "np.maximum(1.0, np.linalg.norm(rows, axis=1, keepdims=True) / 2)", STATISTICS),
    Mutation("half the noise", "core/dp/dpsgd.py",
             "whole = self.plan.noise_multiplier * self.plan.max_grad_norm",
             "whole = self.plan.noise_multiplier * self.plan.max_grad_norm / 2", NOISE),
    Mutation("no noise", "core/dp/dpsgd.py", "clipped.add_(white, alpha=deviation)", "clipped", NOISE),
    Mutation("noise of a known seed", "core/dp/dpsgd.py",
             "PCG64DXSM(secrets.randbits(128))", "PCG64DXSM(0)", STATISTICS),
    Mutation("batches of one size in place of Poisson's", "core/dp/dpsgd.py",
             "drawn = self.random.random(len(self.rows)) < self.rate",
             "drawn = self.random.permutation(len(self.rows)) < round(self.rate * len(self.rows))", STATISTICS),
    Mutation("a patient's rows are all taken", "core/dp/dpsgd.py",
             "for row, patient in enumerate(patients):\n            rows.setdefault(patient, [])",
             "for row, patient in enumerate(patients):\n            rows.setdefault(str(row), [])",
             (f"{PRIVACY}::test_a_patient_with_66_records_weighs_no_more_than_one_with_one",)),
    Mutation("ledger: the hash of the line before is not checked", "core/cohort/chain.py",
             'intact = line["previous"] == head and', "intact =", LEDGER),
    Mutation("ledger: a cut at its end goes unseen", "core/cohort/chain.py",
             "if known and len(lines) < known[0]:", "if known and not lines and False:", CHAIN),
    Mutation("ledger: half a line stays on a full disk", "core/cohort/chain.py",
             "_cut(self.path, len(whole))", "_cut(self.path, len(whole) + 10)", CHAIN),
    Mutation("ledger: what was paid before is not added", "core/dp/ledger.py",
             "[*_paid(before, population), *new]", "new", LEDGER),
    Mutation("ledger: the limit is doubled", "core/dp/ledger.py",
             "if total > limit.epsilon:", "if total > 2 * limit.epsilon:", LEDGER),
    Mutation("the same people under another name", "core/dp/population_identity.py", "SAME = 0.2", "SAME = 1.2",
             ("tests/core/dp/test_population_identity.py",)),
    Mutation("rows of the other split come too", "conditioning/dataset/split.py",
             "table = table[[side == wanted for side in sides]]", "pass", SPLIT),
    Mutation("a patient on both sides of the split", "conditioning/dataset/split.py",
             "{config.train, config.test} <= found]", "{config.train, config.test} < found]", SPLIT),
    Mutation("the held-out share is of the rows that train", "conditioning/dataset/split.py",
             '== (split == "test")', '>= (split == "test")', SPLIT),
    Mutation("lead III is not II - I", "modalities/signals/layout.py", "ii, ii - i,", "ii, ii + i,", LAYOUT),
    Mutation("aVR upside down", "modalities/signals/layout.py", "-(i + ii) / 2", "(i + ii) / 2", LAYOUT),
    Mutation("ids lose their zeros", "core/ids.py",
             "return str(value).strip()", 'return str(value).strip().lstrip("0")', ("tests/core/test_ids.py",)),
    Mutation("ids that mean several are joined", "core/ids.py",
             "if others and (len(others) > 1 or len(names) > 1):", "if others and False:", ("tests/core/test_ids.py",)),
    Mutation("UIDs from seed % 1000", "core/profile.py", "f'{seed}/{part}'", "f'{seed % 1000}/{part}'", SEEDS),
    Mutation("seed_for ignores its stream", "core/profile.py", "{run}/{patient}/{stream}", "{run}/{patient}", SEEDS),
    Mutation("an empty cell is zero", "conditioning/dataset/rows.py",
             "if pd.isna(raw):\n        return None", "if pd.isna(raw):\n        return 0.0", SPLIT),
    Mutation("an unknown field is not masked", "conditioning/encoder.py",
             "return [0.0] * len(_columns(field))", "return [0.0] * (len(_columns(field)) - 1) + [1.0]",
             ("tests/conditioning/test_encoder.py",)),
    Mutation("gate: NaN passes", "eval/gate.py",
             "return float(value) if math.isfinite(value) else None", "return float(value)", GATE),
    Mutation("gate: what was not measured passes", "eval/verdict.py",
             "if self.value is None:\n            return False", "if self.value is None:\n            return True",
             GATE),
    Mutation("gate: the lower end of an attack's interval", "eval/gate.py",
             'return _end(attack.get("interval"), 1)', 'return _end(attack.get("interval"), 0)', GATE),
    Mutation("a purge leaves its folder", "app/governance/retention.py",
             "(path := inside(folder, name, str(folder / MANIFEST)))", "(path := folder / name)",
             (f"{RELEASE}::test_a_purge_stays_inside_the_cohort",)),
    Mutation("links lead out of a cohort", "core/paths.py",
             "if not path or not plain or not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):",
             "if not path or not plain:", ("tests/core/test_paths.py",)),
    Mutation("signatures are not checked", "core/cohort/signing.py",
             ".verify(seal, _pae(payload_type, payload))", "",
             (f"{RELEASE}::test_a_signature_is_over_type_and_payload",)),
    Mutation("any Host", "app/stream/door.py", "if not self._is_ours(host):", "if False:", DOOR),
    Mutation("any Origin", "app/stream/door.py",
             "if origin is not None and not self.admits(origin, host):", "if False:", DOOR),
    Mutation("any token", "app/stream/door.py",
             "return hmac.compare_digest(given.encode(), self.token.encode())", "return bool(given)", TOKEN),
    Mutation("a cohort that lost files is evaluated", "app/api.py",
             "judged.require_files(hashes=not quick)", "pass",
             ("tests/app/test_cli.py::test_evaluate_of_a_cohort_that_lost_files_is_refused",)),
)  # fmt: skip


def copied(place: Path, mutation: Mutation | None) -> Path:
    """The sources below `place`, mutated; the folder from which `polyclinic` is imported. Raises SystemExit."""
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
            )
        else:
            shutil.copy(source, place / name)
    for weights in (ROOT / "modalities").rglob("*.safetensors"):
        (place / weights.relative_to(ROOT)).symlink_to(weights)
    if mutation is not None:
        file = place / mutation.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            raise SystemExit(
                f"{mutation.file}: expected once, found {text.count(mutation.old)} times: {mutation.old!r}; write the "
                f"mutation {mutation.what!r} anew"
            )
        file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    package = place / "site" / "polyclinic"
    package.mkdir(parents=True)
    for own in (place / "core" / "_polyclinic").iterdir():
        (package / own.name).symlink_to(own)
    for room in ROOMS:
        (package / room).symlink_to(place / room)
    return package.parent


def load_libraries() -> None:
    """Import once what every child needs; a fork is then ready to run tests. Nothing of ours is among it."""
    import hypothesis  # noqa: F401
    import lightning.pytorch  # noqa: F401
    import pandas  # noqa: F401
    import pydantic  # noqa: F401
    import pydicom  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import starlette.applications  # noqa: F401
    import torch  # noqa: F401
    import uvicorn  # noqa: F401
    import websockets.asyncio.client  # noqa: F401
    import yaml  # noqa: F401

    assert not any(name.split(".")[0] == "polyclinic" for name in sys.modules)


def started(place: Path, mutation: Mutation | None, tests: Sequence[str]) -> int:
    """The process that runs these tests on a copy; it exits as pytest does, and writes to `place`/output."""
    site = copied(place, mutation)
    if child := os.fork():
        return child
    code = 3
    try:
        out = os.open(place / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(place)
        sys.path.insert(0, str(site))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        import pytest

        # no rewriting of assertions: libraries are there already, which pytest would warn of
        code = int(pytest.main(["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", *tests]))
        import polyclinic

        assert Path(polyclinic.__path__[0]).is_relative_to(site), f"tests ran on {polyclinic.__path__}"
    except BaseException:
        traceback.print_exc()
        code = 3
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def outcome(code: int) -> str:
    """In a word, of pytest's exit code."""
    return {0: SURVIVED, 1: CAUGHT}.get(code, BROKEN)


def run(mutations: Sequence[Mutation], jobs: int, home: Path) -> list[str]:
    """The outcome of each mutation, printed as it is known."""
    waiting, running, found = (
        list(enumerate(mutations)),
        dict[int, tuple[int, float]](),
        [""] * len(mutations),
    )
    while waiting or running:
        while waiting and len(running) < jobs:
            place, mutation = waiting.pop(0)
            folder = home / f"m{place:02d}"
            folder.mkdir()
            running[started(folder, mutation, mutation.tests)] = place, time.monotonic()
        child, status = os.wait()
        place, began = running.pop(child)
        found[place] = outcome(os.waitstatus_to_exitcode(status))
        mutation = mutations[place]
        took = time.monotonic() - began
        print(
            f"| {place + 1} | {mutation.what} | `{mutation.file}` | {found[place]} | {took:.0f} s |",
            flush=True,
        )
        if found[place] == BROKEN:
            print((home / f"m{place:02d}" / "output").read_text(encoding="utf-8")[-800:], file=sys.stderr)
        shutil.rmtree(home / f"m{place:02d}")
    return found


def main() -> None:
    """Print a table, and exit 1 unless all are caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the unmutated tests")
    parser.add_argument("--only", default="", help="mutations whose name or file has this word")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--data")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = [m for m in MUTATIONS if asked.only in m.what or asked.only in m.file]
    began = time.monotonic()
    load_libraries()
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}, {asked.jobs} jobs\n"
    )
    print("| | what is changed | file | | |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        found = run(chosen, asked.jobs, home)
        whole = True
        if not asked.quick:
            (home / "whole").mkdir()
            child = started(home / "whole", None, list(dict.fromkeys(t for m in chosen for t in m.tests)))
            whole = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            if not whole:
                print((home / "whole" / "output").read_text(encoding="utf-8")[-4000:], file=sys.stderr)
            print(f"\nunmutated the same tests {'pass' if whole else 'FAIL'}")
    caught = found.count(CAUGHT)
    print(f"\n{caught} of {len(chosen)} mutations caught in {time.monotonic() - began:.0f} s")
    sys.exit(0 if whole and caught == len(chosen) else 1)


if __name__ == "__main__":
    main()
