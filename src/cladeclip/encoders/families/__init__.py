"""One module a family of encoders: see `specs.py`."""
