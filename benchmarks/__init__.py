"""Ratios against named alternatives, each pair taken side by side in one run: `python -m benchmarks [NAME]`."""
