"""Training of targets: objective, step, loop."""
