"""The edge as a server: HTTP in front of the step engine."""
