"""Captions of pictures: from a template, from a file, or from a vision-language model."""
