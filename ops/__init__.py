"""What runs beside the platform: benchmarks."""
