"""The solvers: speed and proofs, and independent solutions to hold them against."""
