"""Hourly tables as real exports have them: the grid is the same whatever the spelling, or one line says why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyclinic.core.errors import InputError
from polyclinic.core.remarks import remarks
from polyclinic.modalities.signals.channels import CHANNELS, VITALS
from polyclinic.modalities.signals.vitals.series import Series, read_series

STAYS = [f"{i:04d}" for i in range(1, 5)]
HOURS = 6
Change = Callable[[pd.DataFrame], pd.DataFrame]


def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    middle = [(channel.low + channel.high) / 2 for channel in VITALS]
    rows = [
        {
            "patient_id": stay,
            "hour": hour,
            **dict(zip(CHANNELS, np.round(middle + random.normal(0, 2, 7), 1), strict=True)),
        }
        for stay in STAYS
        for hour in range(HOURS)
    ]
    return pd.DataFrame(rows)


def read(
    folder: Path, change: Change = lambda t: t, name: str = "series.parquet", **options: Any
) -> tuple[Series, list[str]]:
    changed = change(table())
    if name.endswith("csv"):
        changed.to_csv(folder / name, index=False)
    else:
        changed.to_parquet(folder / name)
    with remarks(lambda text: None) as found:
        series = read_series(folder, STAYS, {"series": name, **options}, HOURS)
    return series, list(found)


def shuffled_with_gaps(t: pd.DataFrame) -> pd.DataFrame:
    return t.assign(hour=t.hour + 100).sample(frac=1, random_state=1)


def twice_spelt(t: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([t.assign(patient_id=t.patient_id.replace("0001", "01")), t.assign(patient_id="1")])


SAME: list[tuple[Change, str]] = [
    (lambda t: t, ""),
    (lambda t: t.assign(patient_id=t.patient_id.astype(int)), "4 ids are spelt differently"),
    (lambda t: t.assign(patient_id=t.patient_id.astype(float)), "4 ids are spelt differently"),
    (lambda t: t.assign(patient_id=t.patient_id.astype("category")), ""),
    (lambda t: t.assign(hour=t.hour.astype(str)), ""),
    (lambda t: t.assign(hour=t.hour + 0.5), ""),
    (lambda t: t.assign(hour=pd.Timestamp("2024-02-28T22:10") + pd.to_timedelta(t.hour, "h")), ""),
    (
        lambda t: t.assign(hour=(pd.Timestamp("2024-02-28T22:10Z") + pd.to_timedelta(t.hour, "h")).map(str)),
        "",
    ),
    (lambda t: t.assign(hour=pd.to_timedelta(t.hour, "h")), ""),
    (shuffled_with_gaps, ""),
    (lambda t: pd.concat([t.assign(HR=np.nan), t[["patient_id", "hour", "HR"]]]), "share their hour"),
    (lambda t: pd.concat([t, t]), "share their hour"),
    (lambda t: t.astype({"HR": str}), ""),
]


@pytest.mark.parametrize("name", ["series.parquet", "series.csv"])
@pytest.mark.parametrize(("change", "said"), SAME)
def test_every_spelling_is_the_same_grid(tmp_path: Path, change: Change, said: str, name: str) -> None:
    (expected, _), (got, found) = read(tmp_path), read(tmp_path, change, name)
    np.testing.assert_allclose(got.grid, expected.grid, rtol=1e-6)
    assert got.hours.tolist() == [HOURS] * len(STAYS)
    if name.endswith("parquet"):
        assert len(found) == bool(said)
        assert said in "".join(found)


def test_hours_are_placed_by_time_and_gaps_are_missing(tmp_path: Path) -> None:
    (whole, _), (sparse, _) = read(tmp_path), read(tmp_path, lambda t: t[t.hour % 4 == 0])
    np.testing.assert_array_equal(sparse.grid[:, [0, 4]], whole.grid[:, [0, 4]])
    assert np.isnan(sparse.grid[:, [1, 2, 3, 5]]).all()
    assert sparse.hours.tolist() == [5] * len(STAYS)


def test_readings_of_one_hour_are_averaged(tmp_path: Path) -> None:
    series, _ = read(tmp_path, lambda t: pd.concat([t.assign(HR=80.0), t.assign(HR=90.0, hour=t.hour + 0.4)]))
    assert (series.grid[..., CHANNELS.index("HR")] == 85).all()


@pytest.mark.parametrize(
    ("channel", "change", "unit", "scale", "offset"),
    [
        ("Temp", lambda x: x * 1.8 + 32, "degrees Fahrenheit", 5 / 9, -160 / 9),
        ("O2Sat", lambda x: x / 100, "a fraction of 1", 100, 0),
    ],
)
def test_readings_in_another_unit_are_counted_and_the_way_out_works(
    tmp_path: Path, channel: str, change: Callable[[Any], Any], unit: str, scale: float, offset: float
) -> None:
    def other(t: pd.DataFrame) -> pd.DataFrame:
        return t.assign(**{channel: change(t[channel])})

    (expected, _), (lost, found) = read(tmp_path), read(tmp_path, other)
    assert np.isnan(lost.grid[..., CHANNELS.index(channel)]).all()
    assert len(found) == 1
    assert f"24 readings of {channel} (100.0%)" in found[0]
    assert unit in found[0]
    columns = {channel: {"column": channel, "scale": scale, "offset": offset}}
    mended, found = read(tmp_path, other, columns=columns)
    np.testing.assert_allclose(mended.grid, expected.grid, rtol=1e-5)
    assert found == []


def test_words_among_numbers_are_counted(tmp_path: Path) -> None:
    series, found = read(tmp_path, lambda t: t.assign(HR=t.HR.astype(str).mask(t.index == 3, "ERROR")))
    assert np.isnan(series.grid[0, 3, 0])
    assert np.isfinite(np.delete(series.grid.reshape(-1, 7), 3, 0)).all()
    assert "1 cells of HR are not numbers ('ERROR')" in found[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(HR="high"), "HR must hold numbers, got 'high'"),
        (lambda t: t.assign(patient_id="x" + t.patient_id), "none of the 4 stays of the table is there"),
        (lambda t: t.assign(hour="noon"), "hour must be hours, spans or ISO 8601 times, got 'noon'"),
        (lambda t: t.drop(columns="DBP"), "no column 'DBP'"),
        (twice_spelt, "cannot be matched"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, change: Change, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, change)
    assert "\n" not in str(caught.value)


def test_rows_after_the_window_are_counted(tmp_path: Path) -> None:
    for late, many in ((1000, 1), (10_000_000, 1)):
        _, found = read(tmp_path, lambda t, late=late: t.assign(hour=t.hour.where(t.index != 5, late)))  # type: ignore[misc]
        assert f"{many} rows after the first 6 hours of their stay are left out" in found[0]


def test_a_reading_that_is_missing_in_a_long_table_is_counted(tmp_path: Path) -> None:
    def long(t: pd.DataFrame) -> pd.DataFrame:
        rows = t.melt(["patient_id", "hour"], ["HR"], "channel", "value")
        return rows.assign(value=rows.value.mask(rows.index == 3))

    for name in ("series.csv", "series.parquet"):
        series, found = read(tmp_path, long, name, form="long", channels=["HR"])
        assert np.isnan(series.grid).sum() == 1
        assert "1 rows of HR have no value and are left out" in found[0]


def test_stays_without_rows_are_counted(tmp_path: Path) -> None:
    series, found = read(tmp_path, lambda t: t[t.patient_id != "0003"])
    assert np.isnan(series.grid[2]).all()
    assert series.hours.tolist() == [6, 6, 0, 6]
    assert "1 of 4 stays have no rows (as '0003')" in found[0]


def test_the_onset_is_known_unless_it_was_on_from_the_first_row(tmp_path: Path) -> None:
    def labelled(t: pd.DataFrame) -> pd.DataFrame:
        on = ((t.patient_id == "0001") & (t.hour >= 3)) | (t.patient_id == "0002")
        return t.assign(sepsis=on.astype(int))

    series, _ = read(tmp_path, labelled, onset="sepsis", lead=6)
    assert series.onset.tolist() == [9.0, np.inf, np.inf, np.inf]


def numerics(folder: Path, name: str, signals: dict[str, tuple[str, list[float]]]) -> None:
    """A segment of bedside numerics: one row a minute, NaN where there is none."""
    import wfdb

    values = np.array([values for _, values in signals.values()]).T
    wfdb.wrsamp(
        name, fs=1 / 60, units=[unit for unit, _ in signals.values()], sig_name=list(signals), p_signal=values,
        fmt=["16"] * len(signals), adc_gain=[10.0] * len(signals), baseline=[0] * len(signals), write_dir=str(folder),
    )  # fmt: skip


def test_numerics_of_several_segments_and_signals(tmp_path: Path) -> None:
    """As PhysioNet ships bedside records: a layout of all signals, segments with some of them, and a gap."""
    hour, nan = 60, float("nan")
    layout = "s_layout 3 0.0166666666667 0 08:15:00 02/03/2101\n" + "".join(
        f"~ 0 10(0)/{unit} 0 0 0 0 0 {name}\n"
        for name, unit in (("HR", "bpm"), ("RESP", "pm"), ("SpO2", "%"))
    )
    (tmp_path / "s_layout.hea").write_text(layout)
    numerics(tmp_path, "s_1", {"HR": ("bpm", [80.0] * hour), "SpO2": ("%", [97.0] * hour)})
    numerics(
        tmp_path,
        "s_2",
        {"RESP": ("pm", [16.0] * hour), "HR": ("bpm", [90.0] * (hour // 2) + [nan] * (hour // 2))},
    )
    (tmp_path / "s.hea").write_text(
        "s/4 3 0.0166666666667 180 08:15:00 02/03/2101\ns_layout 0\ns_1 60\n~ 60\ns_2 60\n"
    )
    options = {
        "form": "wfdb", "hours": 4,
        "channels": {"HR": {}, "Resp": {"column": "RESP"}, "O2Sat": {"column": "SpO2"}},
    }  # fmt: skip
    with remarks(lambda text: None):
        found = read_series(tmp_path, ["s"], options, 4)
    rows = [[80, nan, 97], [nan, nan, nan], [90, 16, nan], [nan, nan, nan]]
    np.testing.assert_array_equal(found.grid[0], np.array(rows, dtype=np.float32))
    numerics(tmp_path, "s_2", {"HR": ("Hz", [1.5] * hour)})
    with pytest.raises(
        InputError, match=r"s: expected segments of the same signals, HR is in bpm at .* and in Hz"
    ):
        read_series(tmp_path, ["s"], options, 4)
