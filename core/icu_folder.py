"""spare_icu(): a plain folder named icu in the working directory does no harm (findings/natsort_icu_folder.sh)."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


class _NoDataFolder:
    """Of sys.meta_path: there is no module icu where all that Python finds of it are folders without Python files."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "icu" and (found := PathFinder.find_spec(name, path)) is not None and found.origin is None:
            folders = map(Path, found.submodule_search_locations or ())
            if not any(any(folder.glob("*.py")) for folder in folders):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def spare_icu() -> None:
    """Call before anything is imported: natsort, which anndata and others load, takes such a folder for PyICU.

    A folder without __init__.py is a namespace package, so that natsort's `import icu` succeeds, and natsort fails.
    """
    if _NoDataFolder not in sys.meta_path:
        sys.meta_path.insert(0, _NoDataFolder)
