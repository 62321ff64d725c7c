"""The plug-in in Krita: menu, panel and queue, and layers read and written in small steps, so that Krita answers."""
