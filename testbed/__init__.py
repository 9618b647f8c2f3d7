"""The testbed: everything that touches hardware, models, disk or screen."""

import os

# transformers and diffusers give advice while they are imported; what matters is raised as an error
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
