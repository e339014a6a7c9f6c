"""How people keep their pictures; see specs.py."""
