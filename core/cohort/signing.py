"""Signing: Ed25519 keys on disk, and signatures over plain JSON values; a key is known by its public half, in hex."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .disk import require_new_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE, BY = "signature", "by"
PASSPHRASE = (
    "POLYCLINIC_KEY_PASSPHRASE"  # environment variable; a key made while it is set is encrypted with it
)


class Signer:
    """Whoever holds a private key."""

    def __init__(self, private: "Ed25519PrivateKey") -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw().hex()

    @classmethod
    def load(cls, path: Path) -> "Signer":
        """From a PEM file. Raises InputError: no Ed25519 private key is there, or its passphrase is wrong."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            private = load_pem_private_key(_bytes(path), _passphrase())
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InputError(
                f"{path}: expected a private Ed25519 key in PEM, as `polyclinic keys` makes it; the passphrase "
                f"of an encrypted one comes in {PASSPHRASE}"
            ) from None
        if not isinstance(private, Ed25519PrivateKey):
            raise InputError(
                f"{path}: expected an Ed25519 key, got another kind; make one with polyclinic keys"
            )
        return cls(private)

    def sign(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values with who signs (public key) and the signature over all of it."""
        signed = {**values, BY: self.public}
        return {**signed, SIGNATURE: self._private.sign(canonical(signed)).hex()}


def signed(values: Mapping[str, Any]) -> bool:
    """Whether the signature in these values is that of the key they name. Anything malformed is not."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    rest = {key: value for key, value in values.items() if key != SIGNATURE}
    try:
        seal, by = values[SIGNATURE], values[BY]
        content = bytes.fromhex(seal)
        if content.hex() != seal:  # upper case and blanks would be read too
            return False
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(by)).verify(content, canonical(rest))
    except (InvalidSignature, KeyError, ValueError, TypeError):
        return False
    return True


def canonical(values: Mapping[str, Any]) -> bytes:
    """One byte string for equal values. Raises ValueError for NaN and infinities."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def new_key(path: Path) -> str:
    """Make a key pair: the private half in `path`, readable by its owner only, the public one in `path`.pub.

    Returns the public key in hex. Raises InputError if a file is there already.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = path.with_name(f"{path.name}.pub")
    require_new_file(path)
    require_new_file(public_path)
    private, secret = Ed25519PrivateKey.generate(), _passphrase()
    lock = form.BestAvailableEncryption(secret) if secret else form.NoEncryption()
    write_secret(path, private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock))
    public = private.public_key()
    public_path.write_bytes(public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    return public.public_bytes_raw().hex()


def read_public(key: str) -> str:
    """A public key in hex, from its PEM file or from the hex itself. Raises InputError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if len(key) == 64 and set(key) <= set("0123456789abcdef"):
        return key
    try:
        public = load_pem_public_key(_bytes(Path(key)))
    except ValueError:
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise InputError(
            f"{key}: expected a public Ed25519 key in PEM (NAME.pub of polyclinic keys), or 64 hex digits"
        )
    return public.public_bytes_raw().hex()


def write_secret(path: Path, content: bytes) -> None:
    """A new file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _passphrase() -> bytes | None:
    return os.environ.get(PASSPHRASE, "").encode() or None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read ({error.strerror})") from None
