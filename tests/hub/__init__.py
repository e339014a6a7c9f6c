"""A stand-in of the Hugging Face hub on loopback, for tests and rehearsals: `HF_ENDPOINT` leads its clients there."""
