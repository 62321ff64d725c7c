"""The parts that the windows of all hosts share: settings, presets, styles, requests, the session with the server.

Nothing here depends on a host's widgets or on its way of storing pixels.
"""
