"""Cluster discrimination (UNICOM): the head, its loss, the loop, and the checkpoint that others can load."""
