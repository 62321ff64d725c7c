"""The AdaIN network and its mathematics: encoder, statistics, transform, decoder, refinement and finish, in tiles.

It needs torch only, and has no sockets, no files and no globals.
"""
