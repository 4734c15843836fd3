"""Prints for ever, as fast as it can, when it is imported."""

import os

line = b"all work and no play makes a dull log\n" * 4096
while True:
    os.write(1, line)
