"""Small programs to start from: each runs as it is, `python -m clients.examples.NAME --help`."""
