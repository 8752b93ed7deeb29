"""What the application is called, and by which path Ray finds its parts: nothing heavy is imported for it."""

from __future__ import annotations

NAME = "controlnet"
"""Of the application."""

BUILDER = "serve.deployments.ray_service:machine"
"""Builds it on one machine."""

POLICY = "serve.deployments.scaling:replicas"
"""Says how many replicas it has. Ray takes one from a declared application only, not from one of `serve.run`."""
