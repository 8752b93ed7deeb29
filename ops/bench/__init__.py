"""`make bench`: what the engine and the pipeline are worth, as ratios to what stands beside them.

`make bench-serve` does it for the whole platform, over HTTP.

A figure is measured in alternated runs on one machine, and every run's pictures are compared with those of one image
at a time first: a run that makes other pictures has no score. RESULTS.md is the history.
"""
