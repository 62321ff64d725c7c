"""The plug-in for Krita: menu, panel, queue, and access to layers in small steps, so that Krita stays responsive."""
