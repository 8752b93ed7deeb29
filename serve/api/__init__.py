"""The HTTP process: checks requests, turns them into job rows, waits for them, shapes every answer and error.

It talks to the store and the artifacts only. It never calls Ray and imports neither ray nor torch, so it accepts jobs
and answers for them while the rest restarts.
"""
