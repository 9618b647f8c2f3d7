"""An emulated link between a user and the edge, with real TCP."""
