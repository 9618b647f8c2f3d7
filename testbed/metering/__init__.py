"""Joules: the counters of a machine, and what they count while images are made."""
