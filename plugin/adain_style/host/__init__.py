"""What the windows of all hosts share: settings, presets, styles, requests, and the session with the server.

Nothing here knows a widget, or the pixels of a host.
"""
