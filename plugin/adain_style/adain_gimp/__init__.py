"""The plug-in in GIMP 3: its procedures, its pixels and its windows."""
