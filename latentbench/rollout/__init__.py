"""Station 7, free running: a model on its own frames, how far it goes astray, and by depth."""
