"""Images as a function of parameters: how synthetic images are stored, and how images to train on come from them."""
