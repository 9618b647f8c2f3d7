"""Which counters a meter reads: made-up devices stand for the hardware."""

import ctypes
import sys
from time import perf_counter
from types import SimpleNamespace

import pytest
import torch

from testbed.metering import counters, meters, nvml
from testbed.metering.meters import NoMeter, open_meter

CPU, GPU = torch.device("cpu"), torch.device("cuda:1")


def use(monkeypatch, gpus=None, cpus=None, soc=None, still=()):
    """Stand in for Zeus; what is None raises, as Zeus does. Counters that stand ``still`` are left
    out.
    """

    def find(what):
        def found():
            if what is None:
                raise RuntimeError("none here")
            return what

        return found

    monkeypatch.setitem(sys.modules, "zeus", SimpleNamespace())
    monkeypatch.setitem(
        sys.modules,
        "zeus.device",
        SimpleNamespace(get_gpus=find(gpus), get_cpus=find(cpus), get_soc=find(soc)),
    )
    monkeypatch.setattr(
        meters,
        "Meter",
        lambda name, counters, _clock: SimpleNamespace(
            name=name,
            period=1.0,
            joules={c.name: c.read() for c in counters},
            all=counters,
            counters=lambda: [c.name for c in counters if c.name not in still],
        ),
    )


def gpus(counter=True):
    return SimpleNamespace(
        supports_get_total_energy_consumption=lambda _: counter,
        get_total_energy_consumption=lambda index: 7000 * (1 + index),
    )


@pytest.fixture
def rapl(tmp_path):
    """A package with memory, and the whole platform, as the kernel lists them."""

    def zone(folder, name, microjoules):
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path / "name").write_text(f"{name}\n")
        (path / "energy_uj").write_text(f"{microjoules}\n")
        return SimpleNamespace(
            energy_uj_path=str(path / "energy_uj"), max_energy_range_uj=262143328850.0
        )

    package = SimpleNamespace(
        cpu_index=0,
        rapl_file=zone("intel-rapl:0", "package-0", 5_000_000),
        dram=zone("intel-rapl:0/dram", "dram", 2_000_000),
    )
    platform = SimpleNamespace(
        cpu_index=1, rapl_file=zone("intel-rapl:1", "psys", 90_000_000), dram=None
    )
    return SimpleNamespace(rapl_dir=str(tmp_path), cpus=[package, platform])


def test_packages_and_memory_count_and_the_platform_that_holds_them_does_not(monkeypatch, rapl):
    use(monkeypatch, gpus(), rapl)
    meter = open_meter(CPU)
    assert meter.name == "rapl" and meter.joules == {"cpu0": 5.0, "dram0": 2.0}
    assert meter.all[0].wraps_at == pytest.approx(262143.32885)


def test_only_the_gpu_that_computes_counts(monkeypatch, rapl):
    use(monkeypatch, gpus(), rapl)
    meter = open_meter(GPU)
    assert meter.name == "nvml+rapl" and meter.joules == {"gpu1": 14.0, "cpu0": 5.0, "dram0": 2.0}


def test_without_the_gpus_own_the_joules_of_the_cpu_are_not_the_works(monkeypatch, rapl):
    use(monkeypatch, gpus(), rapl, still=["gpu1"])
    assert isinstance(open_meter(GPU), NoMeter)
    use(monkeypatch, gpus(), rapl, still=["dram0"])
    assert open_meter(GPU).name == "nvml+rapl"


def test_through_the_daemon(monkeypatch, rapl):
    cpu = SimpleNamespace(
        cpu_index=0,
        supports_get_dram_energy_consumption=lambda: True,
        get_total_energy_consumption=lambda: SimpleNamespace(cpu_mj=3000.0, dram_mj=500.0),
    )
    use(monkeypatch, cpus=SimpleNamespace(rapl_dir=rapl.rapl_dir, cpus=[cpu]))
    assert open_meter(CPU).joules == {"cpu0": 3.0, "dram0": 0.5}


@pytest.mark.parametrize(
    ("measured", "joules"),
    [
        ({"cpu_energy_mj": 1000.0, "gpu_energy_mj": 4000.0, "total_energy_mj": 9000.0}, 9.0),
        ({"cpu_energy_mj": 1000.0, "gpu_energy_mj": 4000.0, "total_energy_mj": None}, 5.0),
        (
            {
                "cpu_total_mj": 2000,
                "efficiency_cores_mj": [500, 500],
                "gpu_mj": 3000,
                "gpu_sram_mj": 100,
                "ane_mj": None,
                "dram_mj": 400,
            },
            5.5,
        ),
    ],
)
def test_a_system_on_a_chip_counts_once(monkeypatch, rapl, measured, joules):
    use(
        monkeypatch,
        gpus(),
        rapl,
        SimpleNamespace(get_total_energy_consumption=lambda: SimpleNamespace(**measured)),
    )
    meter = open_meter(GPU)
    assert meter.name == "soc" and meter.joules == pytest.approx({"soc": joules})


def test_without_zeus_there_is_no_meter_and_a_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus", None)
    monkeypatch.setitem(sys.modules, "zeus.device", None)
    with pytest.warns(UserWarning, match="zeus is not installed; energy is not measured"):
        meter = open_meter(CPU)
    assert isinstance(meter, NoMeter) and meter.name is None
    meter.start()
    assert meter.stop() is None and meter.idle() is None and meter.parts_j is None


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Zones as the kernel lists them, of which those given may be read."""

    def listed(**joules):
        below = "intel-rapl:0/intel-rapl:0:"
        zones = {"package": "intel-rapl:0", "core": f"{below}0", "dram": f"{below}1"}
        for key, folder in {**zones, "psys": "intel-rapl:1"}.items():
            path, name = tmp_path / "powercap" / folder, "package-0" if key == "package" else key
            path.mkdir(parents=True)
            (path / "name").write_text(name + "\n")
            (path / "max_energy_range_uj").write_text("65532610987\n")
            if key in joules:
                (path / "energy_uj").write_text(f"{joules[key] * 1e6:.0f}\n")
        monkeypatch.setattr(counters, "RAPL", tmp_path / "powercap")

    return listed


@pytest.mark.parametrize("zeus", [True, False])
def test_a_package_that_alone_may_be_read_is_read(monkeypatch, kernel, zeus):
    use(monkeypatch)
    if not zeus:
        monkeypatch.setitem(sys.modules, "zeus.device", None)
    kernel(package=5.0, psys=90.0, core=3.0)
    meter = open_meter(CPU)
    assert meter.name == "rapl" and meter.joules == {"cpu0": 5.0}
    assert meter.all[0].wraps_at == pytest.approx(65532.610987)


def test_the_dies_of_a_package_count(monkeypatch, kernel, tmp_path):
    """They were left out, and with them all joules."""
    use(monkeypatch)
    kernel(package=5.0)
    (tmp_path / "powercap/intel-rapl:0/name").write_text("package-0-die-1\n")
    assert open_meter(CPU).joules == {"cpu0-die-1": 5.0}


def test_memory_alone_is_not_the_works_energy(monkeypatch, kernel):
    use(monkeypatch)
    kernel(dram=2.0, psys=90.0)
    with pytest.warns(UserWarning, match="no energy meter: RAPL: .*energy_uj.*chmod a.r"):
        assert isinstance(open_meter(CPU), NoMeter)


def test_a_gpu_whose_own_counter_is_missing_is_not_read_as_another_card(monkeypatch, library, rapl):
    library(refuses="nvmlDeviceGetTotalEnergyConsumption")
    use(monkeypatch, gpus(), rapl)
    with pytest.warns(UserWarning, match="nvmlDeviceGetTotalEnergyConsumption gives error 3"):
        assert isinstance(open_meter(GPU), NoMeter)


def test_without_counters_there_is_no_meter_either(monkeypatch):
    use(monkeypatch)
    with pytest.warns(UserWarning, match="RAPL .*cannot be read"):
        assert isinstance(open_meter(CPU), NoMeter)


def test_a_gpu_without_a_counter_is_not_metered_by_its_cpu(monkeypatch, rapl):
    use(monkeypatch, gpus(counter=False), rapl)
    with pytest.warns(UserWarning, match="the GPU's energy counter"):
        assert isinstance(open_meter(GPU), NoMeter)


class Library:
    """Stands for NVML's C library, with one GPU, at 1.98 GHz."""

    def __init__(self, joules=7.0, refuses=None):
        self.joules, self.refuses, self.asked = joules, refuses, []

    def __getattr__(self, name):
        values = {
            "nvmlDeviceGetTotalEnergyConsumption": int(1000 * self.joules),
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetPowerUsage": 312_500,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTemperature": 41,
        }

        def function(*arguments):
            self.asked.append((name, *arguments))
            if name == self.refuses:
                return 3
            if name == "nvmlSystemGetDriverVersion":
                arguments[0].value = b"580.1"
            elif name in values:
                arguments[-1]._obj.value = values[name]
            return 0

        return function


@pytest.fixture
def library(monkeypatch):
    """Makes NVML a :class:`Library`, and Zeus absent."""

    def installed(**settings):
        library = Library(**settings)
        monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"a-{index}")
        )
        monkeypatch.setitem(sys.modules, "zeus", None)
        monkeypatch.setitem(sys.modules, "zeus.device", None)
        return library

    return installed


def test_without_zeus_nvml_itself_is_read(library):
    asked = library().asked
    counted = counters.find_counters(GPU)
    assert {name: [c.name for c in parts] for name, parts in counted.items()} == {"nvml": ["gpu1"]}
    assert counted["nvml"][0].read() == 7.0
    assert counters.find_clock(GPU)() == 1.98e9
    assert ("nvmlDeviceGetHandleByUUID", b"GPU-a-1") in [call[:2] for call in asked]
    gpu = nvml.Gpu(1)
    assert (gpu.power(), gpu.power_limit(), gpu.temperature()) == (312.5, 700.0, 41)
    assert gpu.driver() == "580.1"


def test_nvml_counts_cards_in_another_order_than_cuda(monkeypatch, library, rapl):
    """CUDA's device 0 is the second card of the bus, whose UUID it has: its joules are read, not
    those of NVML's (and Zeus's) first one; with a UUID in CUDA_VISIBLE_DEVICES Zeus raises.
    """

    class Bus(Library):
        cards = {b"GPU-slow": 10.0, b"GPU-a-0": 400.0}

        def __getattr__(self, name):
            if name == "nvmlDeviceGetHandleByUUID":
                return self.choose
            return super().__getattr__(name)

        def choose(self, uuid, handle):
            if uuid not in self.cards:
                return 6
            self.joules = self.cards[uuid]
            return 0

    library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _, bus=Bus(): bus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a-0")
    use(monkeypatch, None, rapl)
    meter = open_meter(torch.device("cuda"))
    assert meter.name == "nvml+rapl" and meter.joules["gpu0"] == 400.0
    assert meter.all[0].device.endswith("GPU-a-0"), "the doctor names it"
    with pytest.warns(UserWarning, match="nvmlDeviceGetHandleByUUID gives error 6"):
        assert isinstance(open_meter(torch.device("cuda:7")), NoMeter)


@pytest.mark.parametrize("refuses", ["nvmlInit_v2", "nvmlDeviceGetTotalEnergyConsumption"])
def test_an_nvml_that_refuses_is_said(library, refuses):
    library(refuses=refuses)
    with pytest.warns(UserWarning, match=f"zeus is not installed, and {refuses} gives error 3"):
        assert isinstance(open_meter(GPU), NoMeter)


@pytest.mark.gpu
def test_a_gpus_counter_grows_while_it_computes():
    meter = open_meter(torch.device("cuda"))
    assert meter.name and meter.period < 0.5 and meter.clock_hz is None
    factor = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
    idle = meter.idle(seconds=1.0, pause=0.5)
    meter.start()
    end = perf_counter() + 1.0
    while perf_counter() < end:
        for _ in range(100):
            factor @ factor
        torch.cuda.synchronize()
    joules = meter.stop()
    assert joules > 0 < idle and meter.clock_hz > 1e8
