"""The AdaIN network and its mathematics: torch only; no sockets, no files, no globals."""
