"""One small file a family of pipelines: how the pipeline's own call uses its networks."""
