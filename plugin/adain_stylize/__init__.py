"""adain-stylize: paints files and folders from the command line, as a client of the server."""
