"""The plug-in in GIMP 3: its procedures and windows, and reading and writing GIMP's layers."""
