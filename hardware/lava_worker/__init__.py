"""What runs inside the Lava environment (Python 3.10): a program, and the Lava processes that it adds."""
