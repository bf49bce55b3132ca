"""Latent models that others trained: Stable Diffusion, its autoencoder and encoder."""
