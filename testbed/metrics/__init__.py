"""How good images are: scores, distances between sets of images, and what they are held against."""
