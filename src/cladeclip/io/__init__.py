"""Files: atomic writes, tables, embeddings, caches of rows, and users' tables."""
