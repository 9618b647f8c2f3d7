"""Meters: joules where they were counted, null where not. Recorded counters stand for hardware."""

from time import perf_counter, sleep

import numpy as np
import pytest
import torch

from calibration.costs.energy import fit_energy
from calibration.costs.metering import metered
from calibration.costs.time import fit_time
from calibration.records.task import ModelSpec
from solver.inputs import InputError
from testbed.commands.doctor import about_meter
from testbed.config import ModelConfig
from testbed.metering import meters
from testbed.metering import window as meter_window
from testbed.metering.counters import Counter
from testbed.metering.meters import NoMeter, ReplayMeter
from testbed.metering.window import Window
from testbed.models.pipelines import open_pipeline
from testbed.runs.store import RecordStore
from testbed.stages.executor import Executor
from tests.testbed.pipelines_world import Unscored

CPU = torch.device("cpu")


class Hours:
    """A clock that only moves when told."""

    def __init__(self):
        self.at = 0.0

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.at += seconds


def replay(time, watts, period=0.001, wraps_at=None, seconds=60.0, **columns):
    """Counters of constant ``watts`` by name, updated every ``period`` seconds."""
    at = np.arange(0, seconds, period)
    joules = {name: rate * at % (wraps_at or {}).get(name, np.inf) for name, rate in watts.items()}
    return ReplayMeter({"seconds": at, **joules, **columns}, wraps_at, time.now, time.sleep)


def window(meter, time, seconds):
    meter.start()
    time.sleep(seconds)
    return meter.stop()


def test_a_window_holds_the_joules_of_all_counters():
    time = Hours()
    meter = replay(time, {"gpu0": 200.0, "cpu0": 50.0})
    assert (
        meter.name == "replay"
        and meter.counters() == ["gpu0", "cpu0"]
        and meter.period == pytest.approx(0.001, abs=0.001)
    )
    assert window(meter, time, 2.0) == pytest.approx(500.0, rel=2e-3)
    assert meter.parts_j == pytest.approx({"gpu0": 400.0, "cpu0": 100.0}, rel=2e-3)
    assert meter.clock_hz is None


def test_a_counter_that_wraps_around_loses_nothing():
    time = Hours()
    meter = replay(time, {"cpu0": 50.0}, wraps_at={"cpu0": 70.0})
    assert [window(meter, time, 1.0) for _ in range(20)] == pytest.approx([50.0] * 20, rel=3e-3)


def test_a_window_shorter_than_the_counters_period_is_null_but_counts_in_a_sum():
    time = Hours()
    meter = replay(time, {"gpu0": 300.0, "cpu0": 40.0}, period=0.1)
    assert meter.period == pytest.approx(0.1, abs=0.002)
    with pytest.warns(UserWarning, match="updated every 0.1 s"):
        first = window(meter, time, 0.03)
    joules, parts = [first], [meter.parts_j]
    for _ in range(999):
        joules.append(window(meter, time, 0.03))
        parts.append(meter.parts_j)
    # those with an update as well: leaving out only the zeros would triple the mean
    assert joules == [None] * 1000
    assert 0 < sum(counted["gpu0"] > 0 for counted in parts) < 400
    assert sum(sum(counted.values()) for counted in parts) == pytest.approx(340.0 * 30, rel=0.01)
    assert window(meter, time, 0.35) in (pytest.approx(340 * 0.3), pytest.approx(340 * 0.4))


def test_a_counter_that_stops_has_measured_nothing():
    time = Hours()
    at = np.arange(0, 10, 0.01)
    meter = ReplayMeter(
        {"seconds": at, "gpu0": 100 * np.minimum(at, 2.0), "cpu0": 30 * at},
        None,
        time.now,
        time.sleep,
    )
    assert window(meter, time, 1.0) == pytest.approx(130.0, rel=0.02)
    time.at = 5.0
    with pytest.warns(UserWarning):
        assert window(meter, time, 1.0) is None
    assert meter.parts_j == pytest.approx({"gpu0": 0.0, "cpu0": 30.0}, rel=0.02)


def test_a_counter_that_never_moves_is_left_out_and_said():
    with pytest.warns(UserWarning, match="dram0: the counter stands still"):
        meter = replay(Hours(), {"cpu0": 20.0, "dram0": 0.0})
    assert meter.counters() == ["cpu0"]
    with pytest.warns(UserWarning, match="stands still"):
        assert replay(Hours(), {"cpu0": 0.0}).period is None


def test_idle_power_and_clock():
    time = Hours()
    at = np.arange(0, 60.0, 0.1)
    meter = replay(time, {"gpu0": 60.0}, period=0.1, clock_hz=np.where(at < 20, 1.2e9, 0.9e9))
    assert meter.idle() == pytest.approx(60.0, rel=0.05) and meter.clock_hz == 1.2e9
    time.at = 30.0
    window(meter, time, 1.0)
    assert meter.clock_hz == 0.9e9
    with pytest.warns(UserWarning):
        assert meter.idle(seconds=0.01) is None  # too short to tell


def test_a_long_windows_clock_is_a_mean():
    readings = []

    def read():  # the second reading fails
        readings.append(None if len(readings) == 1 else 1e9 * (1 + len(readings)))
        return readings[-1]

    window = Window([], {}, read, perf_counter)
    while len(readings) < 3:
        sleep(0.01)
    window.close()
    assert len(readings) >= 4
    assert window.clock_hz() == pytest.approx(np.mean([hertz for hertz in readings if hertz]))


@pytest.mark.parametrize("wraps_at", [None, 65532.6])
def test_a_counter_that_is_set_anew_in_a_window_gives_no_joules(wraps_at):
    """A jump; and of a counter that wraps around a fall to 0, which looks like a wrap."""
    time = Hours()
    at = np.arange(0, 60, 0.01)
    jumped, fallen = 150 * at + 5e5 * (at > 10), np.where(at > 10, 150 * at - 1500, 150 * at)
    joules = fallen if wraps_at else jumped
    readings = {"seconds": at, "cpu0": joules}
    meter = ReplayMeter(readings, {"cpu0": wraps_at}, time.now, time.sleep)
    assert window(meter, time, 1.0) == pytest.approx(150.0, rel=0.03)
    time.at = 8.0
    with pytest.warns(UserWarning, match="cpu0: moved by .*: it was set anew; the window is not"):
        assert window(meter, time, 4.0) is None
    assert window(meter, time, 1.0) == pytest.approx(150.0, rel=0.03)


def test_a_counter_that_wraps_twice_in_a_window_gives_no_joules_and_never_few():
    for watts, wraps_at, seconds in ((150, 65532.6, 1000), (250, 262143.3, 1128), (50, 70, 3)):
        time = Hours()
        meter = replay(time, {"cpu0": watts}, 0.01, {"cpu0": wraps_at}, seconds=seconds + 50)
        with pytest.warns(UserWarning, match="cpu0: wraps around at .*the window is not counted"):
            assert window(meter, time, seconds) is None
        assert meter.parts_j is None
        assert window(meter, time, 1.0) == pytest.approx(watts, rel=0.02), "the next one counts"


def test_a_counter_that_wraps_twice_at_a_power_never_seen_before_gives_no_joules():
    time, at = Hours(), np.arange(0, 1100, 0.01)
    joules = np.where(at < 20, 20 * at, 400 + 200 * (at - 20)) % 65532.6  # watched while idle
    meter = ReplayMeter({"seconds": at, "cpu0": joules}, {"cpu0": 65532.6}, time.now, time.sleep)
    time.at = 25.0
    with pytest.warns(UserWarning, match="wraps around"):
        assert window(meter, time, 1000) is None


def test_a_long_window_is_read_often_enough_to_count_every_wrap(monkeypatch):
    monkeypatch.setattr(meter_window, "COUNT_PERIOD", 0.01)
    start = perf_counter()
    counter = Counter("cpu0", lambda: 100 * (perf_counter() - start) % 40, wraps_at=40)
    meter = meters.Meter("test", [counter])
    meter.start()
    sleep(1.0)  # 100 J, 2.5 wraps
    assert meter.stop() == pytest.approx(100, rel=0.2)


def test_a_counter_that_is_reset_loses_its_window_alone():
    time, at = Hours(), np.arange(0, 20, 0.01)
    meter = ReplayMeter(
        {"seconds": at, "gpu0": np.where(at < 5, 1e6, 0) + 100 * at}, None, time.now, time.sleep
    )
    time.at = 4.0
    with pytest.warns(UserWarning, match="gpu0: fell by 9.* J: it was reset"):
        assert window(meter, time, 2.0) is None
    assert meter.parts_j is None and window(meter, time, 2.0) == pytest.approx(200, rel=0.02)


def test_a_counter_that_can_no_longer_be_read_ends_no_run():
    time, broken = Hours(), []

    def read():
        if broken:
            raise RuntimeError("driver was reset")
        return 100 * time.at

    meter = meters.Meter("test", [Counter("gpu0", read)], None, time.now, time.sleep)
    meter.start()
    broken.append(True)
    with pytest.warns(UserWarning, match="cannot be read: driver was reset; the window is not"):
        assert meter.stop() is None
    assert window(meter, time, 1.0) is None
    broken.clear()
    assert window(meter, time, 1.0) == pytest.approx(100)


def test_a_recording_is_read_from_csv_and_ends(tmp_path):
    path, time = tmp_path / "counters.csv", Hours()
    path.write_text(
        "seconds,clock_hz,gpu0\n" + "".join(f"{5 + i / 100},1e9,{i * 0.7}\n" for i in range(400))
    )
    meter = ReplayMeter.load(path, now=time.now, sleep=time.sleep)
    assert window(meter, time, 2.0) == pytest.approx(140.0, rel=0.01) and meter.clock_hz == 1e9
    time.at = 4.0
    with pytest.raises(InputError, match="replay: seconds: found 9; allowed: at most 8.99"):
        meter.start()
    for text, said in (
        ("seconds\n1\n", "at least one counter"),
        ("seconds,a\n1,x\n", "line 2: found .*allowed: numbers"),
        ("seconds,a\n1\n", "found 1 values; allowed: 2"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            ReplayMeter.load(path)


def test_an_executor_records_what_a_replay_counted_and_a_profile_finds_its_power(tmp_path):
    """Real images, on counters that run on at 80 W: whatever the images' times are, their power is
    80 W.
    """
    at = np.arange(0, 120, 0.002)
    meter = ReplayMeter(
        {"seconds": at, "cpu0": 60.0 * at, "dram0": 20.0 * at, "clock_hz": np.full(len(at), 2e9)}
    )
    pipeline, revision = open_pipeline(ModelConfig(model="embedded:light"), CPU)
    spec = ModelSpec(
        model="embedded:light",
        revision=revision,
        device="cpu",
        dtype="float32",
        scheduler="DDIM",
        guidance=3.0,
    )
    tasks = [
        spec.task(
            place="local",
            prompt="a big red ball",
            prompt_class="object",
            seed=seed,
            steps=steps,
            purpose="sweep",
        )
        for steps in (1, 4, 12)
        for seed in (0, 1)
    ]
    records = Executor({"local": pipeline}, Unscored(), CPU, 1, meter).run(
        tasks, RecordStore(tmp_path), "test"
    )
    for record in records:
        measured = record.measured
        assert (
            measured.meter == "replay"
            and measured.clock_hz == 2e9
            and set(measured.energy_parts_j) == {"cpu0", "dram0"}
        )
        assert measured.energy_j == pytest.approx(80 * measured.time, rel=0.5)
        assert (
            record.environment["idle_watts"] == pytest.approx(80, rel=0.02)
            and record.environment["meter_period_s"] < 0.1
        )
    time = fit_time([task.steps for task in tasks], [record.measured.time for record in records])
    energy = fit_energy(metered(records), time)
    assert energy.step_j == pytest.approx(80 * time.step_time, rel=0.2)
    assert energy.idle_watts == pytest.approx(80, rel=0.02)


def test_the_doctor_says_what_is_read_and_what_follows():
    time = Hours()
    lines = " ".join(
        about_meter(replay(time, {"gpu0": 70.0, "cpu0": 20.0}, clock_hz=np.full(60000, 1.98e9)))
    )
    assert time.at < 1.5
    for said in ("gpu0, cpu0", "idling: 90 W", "1.98 GHz"):
        assert said in lines
    assert "not tested" in " ".join(about_meter(replay(Hours(), {"gpu0": 70.0})))
    assert "null" in about_meter(NoMeter())[0] and "modelled" in about_meter(NoMeter())[0]
