"""The demo's data: drawn specimens of an invented taxonomy."""
