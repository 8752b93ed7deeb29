"""Latent diffusion with ControlNet: a library for a notebook.

One noun, one module; start with `controlnet.unet`. This package knows nothing of requests,
tenants or serving, and importing it imports nothing: readers of bundles and makers of control
maps need no torch.
"""

__version__ = "0.1.0"
