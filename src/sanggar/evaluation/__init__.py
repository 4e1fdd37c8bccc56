"""Measuring a trained run. A number never stands without its protocol."""
