"""The exact method: relaxation, core, and dynamic programming over the core."""
