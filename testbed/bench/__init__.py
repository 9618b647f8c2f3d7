"""What a published architecture costs at its true size, with random weights."""
