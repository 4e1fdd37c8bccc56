"""The report: one HTML file made of the files of one or more runs, and of nothing else."""
