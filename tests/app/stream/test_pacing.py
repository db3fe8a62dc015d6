"""Deadlines do not drift, queues are bounded, network faults come at their share."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_patients import Jumping

from polyclinic.app.stream.base import Message
from polyclinic.app.stream.bounded_queue import BoundedQueue
from polyclinic.app.stream.network_faults import NetworkFaults
from polyclinic.app.stream.scheduler import Lateness, Scheduler, offset


@given(
    devices=st.integers(1, 40),
    speed=st.sampled_from([0.5, 1.0, 60.0]),
    work=st.lists(st.floats(0, 3), min_size=1, max_size=20),
)
@settings(max_examples=50, deadline=None)
def test_deadlines_never_drift(devices, speed, work):
    async def play():
        clock, seen = Jumping(), []
        scheduler = Scheduler((1 + offset(place, devices), place) for place in range(devices))
        async for due, place in scheduler.run(clock, speed):
            seen.append((due, place, clock.now() - 1000))
            assert len(scheduler) < devices
            if len(seen) == 4 * devices:
                break
            scheduler.add(due + 1, place)
            clock.time += work[len(seen) % len(work)] / speed / devices  # work takes time, at times too much
        return seen

    seen = asyncio.run(play())
    assert [due for due, _, _ in seen] == sorted(due for due, _, _ in seen)
    for place in range(devices):
        dues = [due for due, whose, _ in seen if whose == place]
        assert dues == pytest.approx([second + 1 + offset(place, devices) for second in range(4)], abs=1e-9)
    assert all(at >= due / speed - 1e-9 for due, _, at in seen)  # nothing before its time
    longest = max(work) / speed / devices
    if sum(work) / len(work) < 0.5 and longest < 0.5 / speed:
        assert all(at - due / speed <= len(work) * longest + 1e-6 for due, _, at in seen)


def test_without_a_speed_nothing_is_waited_for():
    async def play():
        clock, scheduler = Jumping(), Scheduler([(5.0, "b"), (1.0, "a"), (5.0, "c")])
        return [item async for _, item in scheduler.run(clock, None)], clock.now()

    assert asyncio.run(play()) == (["a", "b", "c"], 1000.0)


@given(st.integers(1, 5000))
def test_devices_are_spread_over_the_second(devices):
    places = [offset(place, devices) for place in range(devices)]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] < 1
    _, counts = np.unique(places, return_counts=True)
    assert counts.max() <= -(-devices // 100)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=300), st.floats(0.01, 1))
def test_lateness_is_known_to_half_a_millisecond(values, share):
    late = Lateness()
    for value in values:
        late.add(value)
    exact = np.quantile(values, share, method="inverted_cdf")
    assert exact - 1e-9 <= late.quantile(share) <= exact + 0.0005 + 1e-9
    assert Lateness().quantile(0.5) is None


# -- bounded queues and network faults


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=60))
def test_a_bounded_queue_keeps_its_bound_its_order_and_its_count(steps):
    async def play():
        queue, taken, put, dropped = BoundedQueue(wait=False, limit=40), [], [], 0
        for number, (take, size) in enumerate(steps):
            if take and len(queue):
                assert (await queue.first()) is queue._messages[0]
                taken.append(queue.pop().topic)
            elif await queue.put(Message(str(number), bytes(size))):
                put.append(str(number))
            else:
                dropped += 1
            assert sum(len(m.payload) for m in queue._messages) <= 40
        taken += [queue.pop().topic for _ in range(len(queue))]
        assert taken == put
        assert queue.dropped == dropped

    asyncio.run(play())


def test_a_bounded_queue_that_waits_goes_on_when_there_is_room():
    async def play():
        queue = BoundedQueue(wait=True, limit=10)
        await queue.put(Message("a", bytes(10)))
        late = asyncio.create_task(queue.put(Message("b", bytes(10))))
        await asyncio.sleep(0.01)
        assert not late.done()
        queue.pop()
        assert await late
        assert (await queue.first()).topic == "b"

    asyncio.run(play())


def network(*faults, seed=3):
    from polyclinic.app.stream.network_faults import FAULTS

    return NetworkFaults([FAULTS[what](**how) for what, how in faults], seed)


def test_a_dropout_loses_or_keeps():
    lost = network(("dropout", {"at": 5, "lasts": 10}))
    got = [second for second in range(30) for _, _ in lost.carry(second, second)]
    assert got == [*range(5), *range(15, 30)]
    assert lost.lost == 10
    kept = network(("dropout", {"at": 5, "lasts": 10, "keeps": 4}))
    got = [message for second in range(30) for _, message in kept.carry(second, second)]
    assert got == [*range(5), *range(11, 30)]  # the last four come, in order, before the next
    assert kept.lost == 6


def test_duplicates_and_late_ones_come_at_their_share_and_only_then():
    own = network(
        ("duplicates", {"at": 1000, "share": 0.2}), ("late", {"at": 0, "lasts": 1000, "share": 0.3, "by": 2})
    )
    got = [own.carry(second, second) for second in range(3000)]
    assert {len(some) for some in got[:1000]} == {1}
    assert np.mean([some[0][0] == 2 for some in got[:1000]]) == pytest.approx(0.3, abs=0.05)
    assert np.mean([len(some) == 2 for some in got[1000:]]) == pytest.approx(0.2, abs=0.05)
    again = network(
        ("duplicates", {"at": 1000, "share": 0.2}), ("late", {"at": 0, "lasts": 1000, "share": 0.3, "by": 2})
    )
    assert [again.carry(second, second) for second in range(3000)] == got


def test_what_comes_after_a_dropout_is_no_duplicate():
    own = network(("dropout", {"at": 0, "lasts": 3, "keeps": 3}), ("duplicates", {"at": 5, "share": 1}))
    got = [message for second in range(7) for _, message in own.carry(second, second)]
    assert got == [0, 1, 2, 3, 4, 5, 5, 6, 6]
    assert own.doubled == 2


def test_a_clock_drifts_by_its_share():
    own = network(("clock_drift", {"at": 10, "ppm": 1000, "jump": -2, "lasts": 2000}))
    assert [own.shown(second) for second in (0, 10, 1010, 2010)] == [0, 8, 1009, 2010]
