"""The plug-in for GIMP 3: its procedures and windows, and reading and writing GIMP's layers."""
