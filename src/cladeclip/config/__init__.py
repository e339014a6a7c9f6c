"""The config: its sections as described dataclasses, and what follows from them: schema, defaults, checks and docs."""
