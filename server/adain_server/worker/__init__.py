"""The worker process: from layers, styles and settings to painted pixels."""
