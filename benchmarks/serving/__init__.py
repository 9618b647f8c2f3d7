"""What the server does under load, under attack and at its end, held against goals set before;
beside it the engine's throughput (``benchmarks.serving.engine``), and the emulated link.

    python -m benchmarks.serving --out benchmarks/results/serving.json
    python -m benchmarks.serving --jobs throughput overload --seconds 20

A server process and its clients run on one machine, over loopback. Each job starts a server of its
own and is judged; see :mod:`benchmarks.serving.jobs`. The last line is JSON.
"""
