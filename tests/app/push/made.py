"""What tests of push share: the tiny cohorts and the archives of benchmarks/."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def _loaded(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def servers() -> ModuleType:
    """benchmarks/push_servers.py."""
    return _loaded("push_servers")


def cohort(folder: Path, images: int, compressed: bool = False) -> Path:
    """A finished cohort of so many pictures of 8 x 8 pixels."""
    made: Path = _loaded("push_cohorts").cohort(folder, images, compressed)
    return made


def uid(number: int) -> str:
    """The SOP Instance UID of its picture of that number."""
    return str(_loaded("push_cohorts").uid(number))
