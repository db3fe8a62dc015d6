"""Invented names of synthetic patients, the same in every file format."""

from hashlib import blake2b

MARK = "Synthetic"
_FIRST = (
    "Alder Amber Ash Birch Bramble Cedar Clover Copper Elder Fern Flint Hazel Heather Juniper Larch Linden "
    "Maple Moss Pebble Reed Rowan Sorrel Thistle Willow"
)
_SECOND = (
    "bank barrow beck bridge brook combe dale den fell field ford garth gate grove hollow holm hurst ley "
    "mere moor ridge stead thorpe wick"
)
_WOMEN = (
    "Ada Aino Alba Amina Bettina Carla Dalia Edda Elin Flora Greta Hanna Ida Ines Jana Katja Lena Lucia Mara "
    "Mira Nadia Nora Olga Petra Rosa Sana Selma Tilda Uma Vera Yara Zoe"
)
_MEN = (
    "Aaron Adil Anton Bruno Carlo Dario Emil Enzo Felix Goran Hugo Igor Ivo Jonas Karim Leo Luka Mads Milan "
    "Nils Omar Otto Pavel Rafael Remo Samir Stefan Theo Tomas Viktor Yusuf Zeno"
)


def invented_name(patient_id: str, sex: str | None) -> tuple[str, str]:
    """Family and given name that depend on the patient id; the family name begins with `Synthetic-`."""
    digest = blake2b(f"{patient_id}/name".encode(), digest_size=6).digest()
    first, second, given = (int.from_bytes(digest[i : i + 2], "big") for i in (0, 2, 4))
    given_names = {"F": _WOMEN, "M": _MEN}.get(sex or "", f"{_WOMEN} {_MEN}")
    words = [
        choices.split()[number % len(choices.split())]
        for choices, number in ((_FIRST, first), (_SECOND, second), (given_names, given))
    ]
    return f"{MARK}-{words[0]}{words[1]}", words[2]
