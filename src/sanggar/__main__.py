"""`python -m sanggar` is `sanggar`."""

import os
import sys
from pathlib import Path

# `-m` puts the working folder first, where pictures may lie beside somebody's random.py
if not sys.flags.safe_path and sys.path[0] == os.getcwd() != str(Path(__file__).parents[1]):  # noqa: PTH109
    del sys.path[0]

from sanggar.cli import main

main()
