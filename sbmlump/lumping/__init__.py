"""Lumping: exact by random sampling over prime fields, its basis, its proof."""
