"""Whether two names in a ledger mean the same people: names that nearly agree, and a keyed sketch of patient ids.

A sketch holds the smallest of the ids' hashes (bottom-k, Cohen and Kaplan 2007), from which the overlap of two sets is
estimated. The hashes are HMAC-SHA256 under a key that lies beside the ledger, readable by its owner: without the key a
sketch says nothing of an id.
"""

import hmac
import secrets
from collections.abc import Iterable
from contextlib import suppress
from difflib import SequenceMatcher
from hashlib import sha256
from pathlib import Path

from ..cohort.signing import drop_part, write_secret
from ..errors import InputError

KEY_BYTES = 32
SMALLEST, BYTES = 64, 8
SAME = 0.2  # share of the smaller set from which on two sets count as the same people
NEAR = 0.85  # likeness of names that is worth a word


def sketch(ids: Iterable[str], key: bytes) -> str:
    """Hex of the 64 smallest keyed hashes, 8 bytes each; of all where there are fewer ids."""
    hashes = {hmac.digest(key, name.encode(), sha256)[:BYTES] for name in ids}
    return b"".join(sorted(hashes)[:SMALLEST]).hex()


def overlap(one: str, other: str, sizes: tuple[int, int]) -> float:
    """Estimated share of the smaller set that is in the other one; `sizes` are their patients."""
    a, b = _hashes(one), _hashes(other)
    if not a or not b:
        return 0.0
    known_whole = len(a) < SMALLEST and len(b) < SMALLEST
    least = sorted(a | b)[: None if known_whole else SMALLEST]
    both = len([h for h in least if h in a and h in b])
    jaccard = both / len(least)
    shared = jaccard / (1 + jaccard) * sum(sizes)
    return min(1.0, shared / max(1, min(sizes)))


def key_of(ledger: Path, used: bool = False) -> bytes:
    """The ledger's key, made when it is first asked for.

    Raises InputError if it cannot be read or written, or is gone though sketches were `used` that were made with it:
    a new one would recognise nobody.
    """
    path = ledger.with_name(ledger.name + ".key")
    drop_part(path)
    if not path.exists() and not used:
        with suppress(FileExistsError):  # another process was first
            write_secret(path, secrets.token_hex(KEY_BYTES).encode())
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        if len(key) != KEY_BYTES:
            raise ValueError(f"expected {KEY_BYTES} bytes in hex, got {len(key)}")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the ledger's key cannot be read ({error}); put its last copy back"
        ) from None
    return key


def is_near(one: str, other: str) -> bool:
    """Whether two different names are nearly the same."""
    return SequenceMatcher(None, plain(one), plain(other)).ratio() >= NEAR


def plain(name: str) -> str:
    """Letters and digits alone, in lower case."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _hashes(text: str) -> set[bytes]:
    raw = bytes.fromhex(text)
    return {raw[i : i + BYTES] for i in range(0, len(raw), BYTES)}
