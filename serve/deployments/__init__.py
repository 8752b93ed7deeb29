"""The three Ray Serve deployments and how they are composed; with `serve.cli` the only importers of ray."""
