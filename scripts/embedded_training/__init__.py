"""Training of the embedded models, part by part; ``scripts/train_embedded.py`` runs it."""
