"""Puts the plug-in into GIMP and takes it out again. Standard library, and pip as a program.

Tried with GIMP 3.0.4 on Debian; Flatpak, Windows and macOS are unchecked.
"""
