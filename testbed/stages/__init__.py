"""The stages of a run, one a file: each reads the files of a run folder and writes others there."""
