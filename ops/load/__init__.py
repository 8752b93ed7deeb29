"""Load on the platform as its callers make it, over HTTP, open loop.

    python -m ops.load                   # `make load`: starts a platform, measures it, loads it, writes a report
    python -m ops.load --soak 120        # two hours of 0.7 load with promotions, key rotations and kills

`trace` says who asks for what and when, from a seed. `generator` is a process of its own (locust, whose gevent patches
whatever it shares a process with) that sends each request at its scheduled moment, whether or not earlier ones were
answered; `driver` starts it, and reads what became of each request. `figures` turns that into numbers, `page` into a
report. `soak` watches the platform's processes, tables and files meanwhile.
"""
