"""Ends before it listens: the setting that it wants is nowhere."""

import os

database = os.environ["SHELF_DATABASE"]
