"""What a GPU gives, and whether it gives the same as the CPU."""
