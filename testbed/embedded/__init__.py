"""Small text-to-image models that need no download, and the scenes they are trained on."""
