"""What the commands that read a journal do: `verify`, `show`, `export`.

Each works on an iterator of frames or records, so that it reads a directory whose lock it can take,
or, while a server holds it, the stream of the same frames that the server sends.
"""
