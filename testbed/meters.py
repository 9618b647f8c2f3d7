"""Energy meters behind one interface: ``start()``, then ``stop()`` gives joules, or ``None`` without a meter."""

import warnings


class NoMeter:
    """Stands where no meter is: every energy is ``None``, never zero."""

    name = None

    def start(self):
        pass

    def stop(self):
        return None


class ZeusMeter:
    """Joules of the GPUs (NVML) and CPUs (RAPL) that Zeus can read on this machine."""

    def __init__(self, monitor):
        self._monitor = monitor
        self.name = "+".join(kind for kind, found in (("nvml", monitor.gpus), ("rapl", monitor.cpus)) if found)

    def start(self):
        self._monitor.begin_window("request")

    def stop(self):
        window = self._monitor.end_window("request")
        parts = [joules for group in (window.gpu_energy, window.cpu_energy) for joules in (group or {}).values()]
        return float(sum(parts)) if parts else None


class _Monitor:
    """The part of Zeus that is used, with the list of what it can read."""

    def __init__(self):
        from zeus.device import get_cpus, get_gpus  # optional: pip install 'edge-aigc-testbed[energy]'
        from zeus.monitor import ZeusMonitor

        self.gpus, self.cpus = _count(get_gpus), _count(get_cpus)
        monitor = ZeusMonitor()
        self.begin_window, self.end_window = monitor.begin_window, monitor.end_window


def _count(find):
    try:
        return len(find())
    except Exception:  # Zeus raises its own error for each kind of missing device; all mean "none here"
        return 0


def open_meter():
    """The machine's meter, or :class:`NoMeter` with a warning where there is none."""
    try:
        monitor = _Monitor()
    except ImportError:
        warnings.warn("no energy meter: zeus is not installed; energy is not measured", stacklevel=2)
        return NoMeter()
    if not (monitor.gpus or monitor.cpus):
        warnings.warn("no energy meter: neither NVML nor RAPL can be read; energy is not measured", stacklevel=2)
        return NoMeter()
    return ZeusMeter(monitor)
