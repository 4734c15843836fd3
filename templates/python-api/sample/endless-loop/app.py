"""Spins before it listens."""

ready = False
while not ready:
    pass
