"""How many GPUs of which kind a load takes, what that costs and how long jobs wait: on a virtual clock.

Two levels answer one question. `exact` moves every step of every sampler through the engine's own scheduler and the
fair order that serves. `fast` is the same platform in bins of seconds: a day of ten thousand GPUs takes seconds. A test
holds the second near the first. What a step takes is a cost table: measured on this machine, or assumed and named so.
"""
