"""Files: written whole or not at all, tables, embeddings, caches of rows, and what people bring."""
