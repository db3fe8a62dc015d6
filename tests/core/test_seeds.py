"""Seeds and UIDs: each depends on all that it is said to depend on, and on all of it."""

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyclinic.core.profile import derived_uid, seed_for, slice_uid, uid_for

NAMES = st.text(st.characters(codec="ascii", exclude_characters="/"), min_size=1, max_size=12)


@given(st.integers(0, 2**62), NAMES, NAMES)
def test_a_seed_follows_run_patient_and_stream(run: int, patient: str, stream: str) -> None:
    seed = seed_for(run, patient, stream)
    assert 0 <= seed < 2**63
    assert seed == seed_for(run, patient, stream)
    others = [
        seed_for(run + 1, patient, stream), seed_for(run + 1000, patient, stream), seed_for(run, patient + "0", stream),
        seed_for(run, patient, stream + "0"), seed_for(run, patient, stream[::-1] + "/1"),
    ]  # fmt: skip
    assert len({seed, *others}) == 6


def test_seeds_of_many_are_apart() -> None:
    """Also in their low bits, which a generator of few bits would keep."""
    seeds = [
        seed_for(run, f"P-{i}", s) for run, i, s in product(range(5), range(2000), ("imaging", "signals"))
    ]
    assert len(set(seeds)) == 20_000
    low = {seed % 2**32 for seed in seeds}
    assert len(low) > 19_980  # 0.05 collisions are expected; 20 never come by chance
    assert abs(sum(seed & 1 for seed in seeds) - 10_000) < 500  # seven standard deviations


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: uid_for(seed, "study"),
        lambda seed: derived_uid(uid_for(seed, "series"), "slice 1"),
        lambda seed: slice_uid(uid_for(seed, "series"), uid_for(seed, "instance"), 3),
    ],
)
def test_uids_of_many_seeds_are_apart(make: Callable[[int], str]) -> None:
    """Of seeds that agree in their last digits, or last bits, too."""
    seeds = [*range(5000), *(7 + 1000 * i for i in range(5, 2000)), *(7 + 2**32 * i for i in range(1, 2000))]
    uids = [make(seed) for seed in seeds]
    assert len(set(uids)) == len(seeds)
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_uids_of_roles_are_apart() -> None:
    assert len({uid_for(1, role) for role in ("study", "series", "instance", "slice 1")}) == 4
