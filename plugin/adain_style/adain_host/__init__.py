"""What every host's windows share: settings, presets, the session with the server. No window, no pixel of a host."""
