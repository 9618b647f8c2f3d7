"""How good the policies for requests that arrive are, and whether the goals for them are met.

``python -m benchmarks.online --out benchmarks/results/online.json`` simulates on the measured
profiles of docs/profiles.json. ``--run FOLDER`` executes on the models of a run folder (`testbed
run`) instead, in real time; it wants a quiet machine. Each part, and of the execution each stream,
is kept in the file, and a stream that is there is not served again. The last line is JSON.
"""
