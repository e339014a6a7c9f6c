"""What a curator should look at: doubtful names, pictures twice, pictures that fit nowhere, candidate species."""
