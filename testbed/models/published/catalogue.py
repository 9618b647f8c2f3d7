"""Published text-to-image models by name: the configurations of their networks.

Each configuration is that of the named repository (``unet/config.json`` and so on), less the values
that are the libraries' defaults. Nothing here loads torch.
"""

from solver.inputs import check_keys
from testbed.models.published.diffusion_transformers import TRANSFORMERS
from testbed.models.published.parts import Architecture
from testbed.models.published.unets import UNETS

ARCHITECTURES: dict[str, Architecture] = {**UNETS, **TRANSFORMERS}


def find(name: str) -> Architecture:
    """The :class:`Architecture` called ``name``; raises :class:`InputError` for an unknown one."""
    check_keys("--architecture", [name], ARCHITECTURES)
    return ARCHITECTURES[name]
