"""Class labels for the students: clusters of a teacher's embeddings, and controls; and how good they are."""
