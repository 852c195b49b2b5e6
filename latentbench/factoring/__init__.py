"""Grids of factorisations: is the predictable state easier to model than the latents?"""
