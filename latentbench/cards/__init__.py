"""The card of an encoder: what its latents are like, before anything predicts them."""
