"""The verbs of the command line: each one's parser stands beside the function that it calls."""
