"""spare_icu(): a plain folder named icu beside the user does no harm to anndata (findings/natsort_icu_folder.sh)."""

import sys
from importlib.util import find_spec


def spare_icu() -> None:
    """Call before anndata is imported: natsort, which it loads, takes a folder named icu for PyICU, and fails.

    A folder without __init__.py is a namespace package: it has no origin. Python then answers that there is no icu.
    """
    if "icu" not in sys.modules and (found := find_spec("icu")) is not None and found.origin is None:
        sys.modules["icu"] = None  # type: ignore[assignment]
