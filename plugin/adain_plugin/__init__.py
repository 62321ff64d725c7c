"""The command adain-plugin: puts the plug-in into GIMP and Krita, checks it there, and takes it out again.

It needs the standard library, and pip as a program. It was tested with GIMP 3.0.4 and Krita 5.1.5 on Debian;
AppImages, Flatpak, Windows and macOS are untested.
"""
