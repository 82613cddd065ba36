"""``python -m sbmlump``."""

from sbmlump.cli import main

main()
