"""Durable state: job rows, events, the serving pointer, artifacts."""
