"""`exchange watch`: a live view of one market."""
