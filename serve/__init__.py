"""The serving platform: HTTP in front, Ray Serve in the middle, a store between them."""
