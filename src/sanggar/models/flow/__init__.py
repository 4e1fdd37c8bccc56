"""Flow matching: noise carried into data along a learned velocity."""
