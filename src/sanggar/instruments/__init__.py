"""What measures, and is not trained by the recipe in use: judges, the Inception network, their features."""
