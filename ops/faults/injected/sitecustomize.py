"""Python's wall clock, moved by what a file says; imported by each Python process that finds it on its PYTHONPATH.

Not libfaketime: with the monotonic clock left alone, version 0.9.10 has `time.sleep` fail. What is written in C++ keeps
the machine's time, and so does `datetime.now()`.
"""

import mmap
import os
import time

if "FAULTS_CLOCK" in os.environ:
    with open(os.environ["FAULTS_CLOCK"], "rb") as _file:
        _offset = memoryview(mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)).cast("d")
    _time, _time_ns = time.time, time.time_ns

    time.time = lambda: _time() + _offset[0]
    time.time_ns = lambda: _time_ns() + int(_offset[0] * 1e9)
