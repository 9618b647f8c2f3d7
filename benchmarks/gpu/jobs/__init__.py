"""The jobs of the check: each notes what it measures, and returns a line that tells it."""
