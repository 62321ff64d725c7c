"""The errors of adain-plugin: each says in a sentence what is wrong and what to do."""


class PluginError(Exception):
    """The plug-in cannot be put in, taken out or looked at."""


class HostNotFoundError(PluginError):
    """The host is not on this machine, or only a version that is too old."""


class ProgramError(PluginError):
    """A program cannot be started, takes too long, or does not say what it was asked."""


class FilesError(PluginError):
    """The plug-in's files are missing, or cannot be written or removed."""


class ForeignFolderError(PluginError):
    """What is in the plug-in's place is somebody else's, so it is left alone."""


class NotListedError(PluginError):
    """The host was asked and does not know the plug-in that was put in."""


class LibrariesError(PluginError):
    """The host's Python lacks zmq or msgpack, and it could not be helped."""
