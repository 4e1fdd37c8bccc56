"""`python -m sanggar` is `sanggar`."""

from sanggar.cli import main

main()
