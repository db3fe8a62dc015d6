"""The ECG of a record, over and over: no seam, no drift, the same heart at any rate."""

import numpy as np
import pytest
from live_patients import monitor, record

from polyclinic.core.errors import InputError
from polyclinic.core.modality import Record
from polyclinic.modalities.signals.live.strip import RhythmState, Strip


def test_a_strip_at_its_mean_rate_is_the_record_over_and_over():
    own = record()
    free = own.arrays["ecg"][[0, 1, 6, 7, 8, 9, 10, 11]] * 1000.0
    strip = Strip(free, own.arrays["r_peaks"], 500, 0)
    loop = strip._loop.shape[1]
    drawn, peaks = strip.take(3 * loop, lambda second: RhythmState(strip.mean_rate))
    assert np.array_equal(drawn[:, :loop], drawn[:, loop : 2 * loop])
    assert len(peaks) == 3 * len(strip._beats)
    first = strip._beats[0].before
    begin = own.arrays["r_peaks"][own.arrays["r_peaks"] >= 40 + first][0] - first
    plain = own.arrays["ecg"][1, begin : begin + 300] * 1000
    assert np.abs(drawn[1, :300] - plain).max() < 12  # what the seam's drift takes away, and rounding


@pytest.mark.parametrize("rate", [38.0, 75.0, 110.0, 180.0])
def test_a_strip_has_no_seam_and_keeps_rate_and_einthovens_law(rate):
    strip = Strip(
        record().arrays["ecg"][[0, 1, 6, 7, 8, 9, 10, 11]] * 1000.0, record().arrays["r_peaks"], 500, 0
    )
    steps = max(abs(np.diff(record().arrays["ecg"][1] * 1000))) + 4
    chunks = [strip.take(500, lambda second: RhythmState(rate)) for _ in range(60)]
    leads = np.concatenate([chunk for chunk, _ in chunks], axis=1).astype(int)
    beats = [500 * second + peak for second, (_, own) in enumerate(chunks) for peak in own]
    assert 60 * 500 / np.mean(np.diff(beats)) == pytest.approx(rate, rel=0.01)
    stretch = max(1.0, rate / 75) ** 2
    assert np.abs(np.diff(leads[1])).max() <= steps * stretch
    assert np.array_equal(leads[2], leads[1] - leads[0])  # III = II - I
    assert np.array_equal(2 * leads[3], -(leads[0] + leads[1]))  # aVR
    tops = [leads[7, max(beat - 10, 0) : beat + 11].argmax() - min(beat, 10) for beat in beats[1:-1]]
    assert np.abs(tops).max() <= 2  # the marks are at the peaks


def test_chunks_of_any_length_make_the_same_ecg():
    def drawn(lengths):
        strip = Strip(record().arrays["ecg"][:8] * 1000.0, record().arrays["r_peaks"], 500, 0)
        return np.concatenate(
            [strip.take(n, lambda second: RhythmState(80 + second))[0] for n in lengths], axis=1
        )

    assert np.array_equal(drawn([1500]), drawn([1, 499, 250, 750]))


def test_a_strip_of_too_few_beats_is_refused():
    own = record()
    with pytest.raises(InputError, match="patient PC-0: expected an ECG of 3 marked beats or more, got 2"):
        monitor(own=Record({**own.arrays, "r_peaks": own.arrays["r_peaks"][:2]}))


def test_half_the_rate_is_the_same_heart():
    slow, fast = monitor(rate=250), monitor(rate=500)
    assert slow.describe()["ecg"]["rate"] == 250
    for second in range(5):
        assert len(slow.ecg(second)[0]["II"]) == 250
        fast.ecg(second)
