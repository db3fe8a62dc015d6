"""Results of images.py that do not change from run to run, kept under the hash of all that they follow from.

The hash is of the code (modalities/imaging, core/dp and the files images*.py of benchmarks), of the weight files that
are named, of the lists of checksums beside the data, and of the call's own arguments. What real images alone taught
(of_real) outlives weights and generators: its hash is of the code that reads and judges. `--fresh` makes all anew.
"""

import os
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyclinic.core.training.weights import find

HERE = Path(__file__).resolve().parent
CODE = ("modalities/imaging/*.py", "core/dp/*.py", "benchmarks/images*.py")
READS = (
    "modalities/imaging/data.py", "modalities/imaging/frame.py", "modalities/imaging/formats/files.py",
    "benchmarks/images_judges.py", "benchmarks/images_table.py", "benchmarks/images_use.py", "benchmarks/masks.py",
)  # fmt: skip
UPSAMPLERS = ("imaging_upsampler", "imaging_fine_upsampler", "imaging_skin_upsampler")
JUDGE = "imaging_features"  # weights whose features FID and age follow from


class Cache:
    """A folder of arrays by hash; `used` counts those that were there."""

    def __init__(self, data: Path, fresh: bool) -> None:
        self.fresh, self.used, self.made = fresh, 0, 0
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.folder = Path(home) / "polyclinic" / "benchmarks"
        sums = sorted((data / "images").glob("*/CHECKSUMS.sha256"))
        code = [f for pattern in CODE for f in sorted(HERE.parent.glob(pattern))]
        self.code = _hash([*code, find(JUDGE), *sums])
        self.reading = _hash([*(HERE.parent / name for name in READS), *sums])

    def __call__(self, weights: str, make: Callable[[], NDArray[Any]], *what: object) -> NDArray[Any]:
        """What make() returns, of this run or of an earlier one with the same code, data and weights of that name."""
        names = [weights, *UPSAMPLERS]
        return self._kept(make, f"{self.code} {_hash([find(name) for name in names])} {what}")

    def of_real(self, make: Callable[[], NDArray[np.float32]], *what: object) -> NDArray[np.float32]:
        """The same of what follows from real images alone, whatever the weights are."""
        return self._kept(make, f"{self.reading} {what}")

    def _kept(self, make: Callable[[], NDArray[Any]], of: str) -> NDArray[Any]:
        key = sha256(of.encode()).hexdigest()[:32]
        path = self.folder / f"{key}.npy"
        if not self.fresh and path.exists():
            self.used += 1
            return np.asarray(np.load(path))
        self.made += 1
        found = make()
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.tmp.npy")
        np.save(part, found)
        part.replace(path)
        return found


def _hash(files: Sequence[Path]) -> str:
    """Of what is in them."""
    return sha256(b"".join(sha256(file.read_bytes()).digest() for file in files)).hexdigest()
