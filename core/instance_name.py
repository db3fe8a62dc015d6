"""Instance names: `imaging:skin` is a second modality of images beside `imaging`, with weights and files of its own."""

import re

from .errors import InputError

LABEL = "instance"  # the fact that says of which instance a record is
LONGEST = 16  # so that FHIR ids, of at most 64 characters, have room for it
_LABEL = re.compile(rf"[a-z0-9][a-z0-9-]{{0,{LONGEST - 1}}}")


def split(name: str) -> tuple[str, str]:
    """Base and label of a name: `imaging:skin` is imaging and skin, `imaging` has no label. Raises InputError."""
    base, colon, label = name.partition(":")
    if colon and not (base and _LABEL.fullmatch(label)):
        raise InputError(
            f"{name!r}: expected NAME:INSTANCE, as imaging:skin, the instance of 1 to {LONGEST} lower-case letters, "
            "digits and dashes, a letter or digit first"
        )
    return base, label


def named(base: str, label: str) -> str:
    """The name of an instance of `base`, or `base` where there is no label."""
    return f"{base}:{label}" if label else base


def base_of(name: str) -> str:
    """What an instance is another one of: `imaging` of `imaging:skin` and of `imaging`."""
    return name.partition(":")[0]


def label_of(name: str) -> str:
    """`skin` of `imaging:skin`, empty for `imaging`."""
    return name.partition(":")[2]


def stem_of(name: str) -> str:
    """The name as that of a file or folder: `imaging-skin`."""
    return name.replace(":", "-")
