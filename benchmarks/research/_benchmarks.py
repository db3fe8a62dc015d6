"""Puts the folder above on the import path: these scripts share code with the benchmarks there."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
