"""The files of a run: its folder, its records and images, and the lock that one run holds on it."""
