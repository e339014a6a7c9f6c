"""A run and its surroundings: what is stale, logs, checks of machine, hub and results, and new configs."""
