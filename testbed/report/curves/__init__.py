"""The curves of a report: what was measured, the families fitted to it, and how well they fit."""
