"""The worker process: turns layers, styles and settings into painted pixels."""
