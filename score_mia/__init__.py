"""score_mia: audits the membership privacy of diffusion models, in JAX."""

__version__ = "0.2.0"
