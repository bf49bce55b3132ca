"""One folder a paper: its numbers, its protocol with its mistakes, its data, its study.

Nothing in score_mia imports from here. A config reaches a paper's parts as it reaches
those of a user's own package: by "module:Name".
"""
