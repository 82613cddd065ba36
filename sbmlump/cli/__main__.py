"""``python -m sbmlump.cli``."""

from sbmlump.cli import main

main()
