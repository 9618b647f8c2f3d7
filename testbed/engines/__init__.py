"""What makes images: diffusers' own pipeline, and the step engine that serves requests of any step
counts in one batch.
"""
