"""The command adain-stylize: paints files, folders and films from the command line, as a client of the server."""
