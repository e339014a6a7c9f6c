"""The sections of the report: each computes what its template of the same name shows."""
