"""The versions that CI installs: every dependency has one, which its requirement allows."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def pinned() -> dict[str, str]:
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))  # type: ignore[misc]


def test_every_dependency_is_pinned_as_its_requirement_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [text for name, texts in extras.items() if name not in ("all", "s3") for text in texts]
    wanted = [Requirement(text) for text in [*project["dependencies"], *asked]]
    pins = pinned()
    for own in wanted:
        name = canonicalize_name(own.name)
        if name != "polyclinic":
            assert name in pins, f"{name} has no version in .ci/constraints.txt"
            assert own.specifier.contains(pins[name]), f"{own}: {pins[name]} is pinned"


def test_ci_uses_them() -> None:
    assert "PIP_CONSTRAINT=$root/.ci/constraints.txt" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
