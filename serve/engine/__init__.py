"""Continuous batching: images join and leave a running batch between two steps. Standard library only."""
