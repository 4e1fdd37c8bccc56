"""Data sets: where they are found, how they are split, and the only place where pixels become floats."""
