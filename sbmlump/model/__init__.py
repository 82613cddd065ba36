"""What everything speaks: the graph of expressions, programs over it, ODE systems and reduced systems."""
