"""Measured behaviour of diffusion pipelines: what to measure, curves fitted to it, problems made of
it, checks against it.

``tasks`` and ``plan`` say what to run; ``curves``, ``fit`` and ``timing`` turn records into curves
with uncertainty; ``profile`` bundles them per place and prompt class; ``devices`` and ``scenario``
make an allocation problem of profiles; ``validate`` compares what the problem promised with what
was measured.
"""
