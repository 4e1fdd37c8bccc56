"""Networks by family, and the contract between a family and the rest of the house."""
