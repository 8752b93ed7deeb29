"""Tells a team's own server that a job ended: signed, retried, and only where the operator allows it."""
