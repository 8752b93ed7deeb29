"""The groups of `cnserve` that talk to a running platform."""
