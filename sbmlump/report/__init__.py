"""HTML pages: one reduction, or a whole survey. Each page is one file that works offline."""
