"""CladeCLIP: cluster a teacher's embeddings, train a small CLIP encoder on the cluster ids, and see what it learned."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cladeclip")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"
