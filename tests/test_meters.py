"""Meters: joules where something was read, null where nothing was; replayed readings stand for the hardware."""

import sys
from types import SimpleNamespace

import pytest

from testbed.meters import NoMeter, ZeusMeter, open_meter


class Replay:
    """Recorded windows in place of counters."""

    def __init__(self, windows, gpus=0, cpus=0):
        self.windows, self.gpus, self.cpus, self.open = iter(windows), gpus, cpus, False

    def begin_window(self, _name):
        assert not self.open
        self.open = True

    def end_window(self, _name):
        assert self.open
        self.open = False
        return next(self.windows)


def window(gpu, cpu):
    return SimpleNamespace(gpu_energy=gpu, cpu_energy=cpu, total_energy=0)


def test_joules_are_summed_over_all_that_was_read():
    meter = ZeusMeter(Replay([window({0: 2.5, 1: 1.0}, {0: 4.0}), window({0: 1.0, 1: 0.0}, None)], gpus=2, cpus=1))
    assert meter.name == "nvml+rapl"
    meter.start()
    assert meter.stop() == 7.5
    meter.start()
    assert meter.stop() == 1.0


def test_nothing_read_is_null_and_not_zero():
    """Zeus reports total_energy = 0 where it read nothing; that zero has nothing behind it."""
    meter = ZeusMeter(Replay([window({}, None)], cpus=1))
    meter.start()
    assert meter.stop() is None


def test_without_zeus_there_is_no_meter_and_a_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus", None)
    monkeypatch.setitem(sys.modules, "zeus.device", None)
    with pytest.warns(UserWarning, match="energy is not measured"):
        meter = open_meter()
    assert isinstance(meter, NoMeter) and meter.name is None
    meter.start()
    assert meter.stop() is None


def test_zeus_without_devices_is_no_meter_either(monkeypatch):
    def nothing():
        raise RuntimeError("no NVML here")

    monkeypatch.setitem(sys.modules, "zeus", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "zeus.device", SimpleNamespace(get_gpus=nothing, get_cpus=nothing))
    monkeypatch.setitem(sys.modules, "zeus.monitor", SimpleNamespace(ZeusMonitor=lambda: SimpleNamespace(begin_window=None, end_window=None)))
    with pytest.warns(UserWarning, match="neither NVML nor RAPL"):
        assert isinstance(open_meter(), NoMeter)
