"""Puts the plug-in into GIMP and Krita and takes it out again. Standard library, and pip as a program.

Tried with GIMP 3.0.4 and Krita 5.1.5 on Debian; AppImages, Flatpak, Windows and macOS are unchecked.
"""
