"""Exact lumping: the space over GF(p) and Q, its basis, partitions, sizes for every species."""
