"""Looks after the journal, its followers and the outside parts while the server runs."""
