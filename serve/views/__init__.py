"""What the API and the commands show alike, as JSON says it; no HTTP."""
