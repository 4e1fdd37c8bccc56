"""What a stranger might send."""

from __future__ import annotations

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) (w) file\n%%EOF\n"
"""A program, which Pillow hands to Ghostscript where no list of formats forbids it"""
