"""The code of a profile: what is unknown is masked, and is not taken for a value."""

import numpy as np
import pytest

from polyclinic.conditioning.encoder import ProfileEncoder
from polyclinic.core.profile import PatientProfile

KNOWN = PatientProfile(
    "a", age=60.0, sex="F", conditions={"I48.91": False}, measurements={"heart_rate": 80.0}
)


@pytest.mark.parametrize("field", ["age", "sex", "I48.91", "heart_rate"])
def test_an_unknown_field_is_zero_and_says_so(field: str) -> None:
    encoder = ProfileEncoder()
    nobody, known = encoder.encode([PatientProfile("b"), KNOWN])
    own = [
        k
        for k, name in enumerate(encoder.columns)
        if name.partition("~")[0].rstrip("?").split("=")[0] == field
    ]
    mask = encoder.columns.index(f"{field}?")
    assert mask in own
    assert (nobody[mask], known[mask]) == (0, 1)
    assert np.all(nobody[own] == 0)
    assert np.any(known[[k for k in own if k != mask]] != 0)
    assert np.all(nobody == 0)
