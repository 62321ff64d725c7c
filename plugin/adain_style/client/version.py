"""The version of this project. It is here because the plug-in in a host has no package metadata."""

VERSION = "0.2.0"
"""Written here only: pyproject.toml reads it, and so does every command's --version."""
