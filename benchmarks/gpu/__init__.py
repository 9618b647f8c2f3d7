"""What a GPU has to tell, asked for by one command within minutes: ``scripts/gpu_check OUT``.

Every job of :mod:`benchmarks.gpu.order` runs in a process of its own, is bounded in time, and keeps
what it measures in OUT at once. Those worth most run first, so that a run cut short has them.
"""
