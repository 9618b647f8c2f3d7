"""What makes images: diffusers' own pipeline, and continuous batching of requests that differ in
their step counts.
"""
