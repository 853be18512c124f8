"""What runs inside the Lava environment (Python 3.10)."""
