"""Samplers by the work that waits against samplers by the number of requests, on a virtual clock: docs/scaling.md.

trace        a bursty day of jobs, seeded
policies     the shipped decision, and Ray's own
simulation   replicas that start cold, a dispatcher, Serve's delays
__main__     grids, the table, the plot
"""
