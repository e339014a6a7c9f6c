"""One module a kind of captioner: see `specs.py`."""
