"""Running the platform: benchmarks, load, dashboards. Nothing here is imported by it."""
