"""Images from a server, anyone's: one request, a place, batches."""
