"""Station 7, free running: a model on its own frames, and how far it goes astray."""
