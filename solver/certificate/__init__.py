"""The certificate: how far an allocation can be from the optimum, proven from the problem."""

from solver.certificate.certify import certify, prove
from solver.certificate.proof import Proof

__all__ = ["Proof", "certify", "prove"]
