"""What each user chooses for itself at a price of an edge step."""
