"""Captions: one sentence a picture, from a template, a table, or a vision-language model."""
