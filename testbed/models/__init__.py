"""Diffusion models: published architectures, where weights come from, and how a pipeline is opened
in the memory there is.
"""
