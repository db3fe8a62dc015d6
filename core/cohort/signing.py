"""Signing: Ed25519 keys on disk, and DSSE signatures (github.com/secure-systems-lab/dsse) by key id, the public key."""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..extras import need
from ..paths import require_file
from .disk import part_of, refusals, require_new_file, write_atomic

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURES = "signatures"
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
        need(f"{path}: signing", "cryptography")
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        pem = _bytes(path)
        try:
            private = load_pem_private_key(pem, _passphrase())
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

    def sign(self, payload_type: str, payload: bytes) -> list[dict[str, str]]:
        """The `signatures` of a DSSE envelope: one, by this key; keyid is the public key in hex."""
        seal = self._private.sign(_pae(payload_type, payload))
        return [{"keyid": self.public, "sig": b64encode(seal).decode()}]


def signed_by(payload_type: str, payload: bytes, signatures: Any) -> str | None:
    """The public key that signed, in hex. None where the signature is not that of the key it names, or malformed."""
    need("checking a signature", "cryptography")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        (one,) = signatures
        key, seal = bytes.fromhex(one["keyid"]), b64decode(one["sig"], validate=True)
        if one != {"keyid": key.hex(), "sig": b64encode(seal).decode()}:  # other spellings would be read too
            return None
        Ed25519PublicKey.from_public_bytes(key).verify(seal, _pae(payload_type, payload))
    except (InvalidSignature, KeyError, ValueError, TypeError):
        return None
    return key.hex()


def _pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding, the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def canonical(values: Mapping[str, Any]) -> bytes:
    """One byte string for equal values. Raises ValueError for NaN and infinities."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def new_key(path: Path) -> str:
    """Make a key pair: the private half in `path`, readable by its owner only, the public one in `path`.pub.

    Returns the public key in hex. A private half whose public one is not there, as a killed run leaves it, gets that.
    Raises InputError if both are there already, or a file cannot be written; nothing is left then.
    """
    need(f"{path}: a key to sign with", "cryptography")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public_path = path.with_name(f"{path.name}.pub")
    drop_part(path)
    require_new_file(public_path)
    secret, there = _passphrase(), path.is_file()
    if there:
        private = Signer.load(path)._private
    else:
        require_new_file(path)
        private = Ed25519PrivateKey.generate()
        lock = form.BestAvailableEncryption(secret) if secret else form.NoEncryption()
        write_secret(path, private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock))
    public = private.public_key()
    with refusals(path.parent):
        try:
            write_atomic(
                public_path, public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
            )
        except OSError:
            if not there:
                path.unlink()
            raise
    return public.public_bytes_raw().hex()


def read_public(key: str) -> str:
    """A public key in hex, from its PEM file or from the hex itself. Raises InputError."""
    if len(key) == 64 and set(key) <= set("0123456789abcdef"):
        return key
    need(f"{key}: reading a key", "cryptography")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(_bytes(Path(key)))
    except ValueError:
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise InputError(
            f"{key}: expected a public Ed25519 key in PEM (NAME.pub of polyclinic keys), or 64 hex digits"
        )
    return public.public_bytes_raw().hex()


def drop_part(path: Path) -> None:
    """Remove what a killed write_secret left beside a file: it may be a second link to the secret."""
    with suppress(
        OSError
    ):  # where it cannot be removed, nothing can be written either, which write_secret says
        part_of(path).unlink(missing_ok=True)


def write_secret(path: Path, content: bytes) -> None:
    """A new file that only its owner may read, whole or not at all. Raises InputError where it cannot be written."""
    part = part_of(path)
    with refusals(path.parent):
        try:
            part.unlink(missing_ok=True)  # of a run that was killed
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            try:
                os.link(part, path)  # unlike a rename this replaces nothing
            except OSError:
                if path.exists():
                    raise
                part.replace(path)  # a file system without links
        finally:
            part.unlink(missing_ok=True)


def _passphrase() -> bytes | None:
    return os.environ.get(PASSPHRASE, "").encode() or None


def _bytes(path: Path) -> bytes:
    require_file(path, "a key file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read ({error.strerror})") from None
