"""What the models' images are worth."""
