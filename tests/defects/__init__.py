"""What was once wrong, and is held right: one file for each defect, named by it.

The letters are those of the changelog of 0.2.0: A numbers, B changed files taken for
true ones, C security and privacy, D work lost or mistakes told late, E tracebacks.
"""
