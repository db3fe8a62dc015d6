"""Memory: what was freed in pieces goes back to the system."""

import subprocess
import sys

import pytest

CODE = """
from pathlib import Path
from polyclinic.core.memory import give_back

def held():  # MB
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

pieces = [bytearray(60_000) for _ in range(3000)]
full = held()
del pieces[::2], pieces[1:-1]  # what is left keeps the C library from giving back the rest by itself
left = held()
give_back()
print(full, left, held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_pieces_go_back_to_the_system() -> None:
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    full, left, after = map(float, said.split())
    assert left > full - 60, "the C library gave it back by itself: this shows nothing"
    assert after < left - 90
