"""Reduction methods, each from an OdeSystem to a ReducedSystem; ``registry`` lists them."""
