"""Studies: a question, what is varied, what was claimed beforehand, and what runs say to it."""
