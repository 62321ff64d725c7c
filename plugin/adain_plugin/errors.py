"""The errors of adain-plugin: each says in a sentence what is wrong and what to do."""


class PluginError(Exception):
    """The plug-in cannot be installed, removed or checked."""


class HostNotFoundError(PluginError):
    """The host is not on this machine, or only in a version that is too old."""


class ProgramError(PluginError):
    """A program cannot be started, takes too long, or does not give the answer."""


class FilesError(PluginError):
    """The plug-in's files are missing, or cannot be written or removed."""


class ForeignFolderError(PluginError):
    """Something else is in the plug-in's place, and is left alone."""


class NotListedError(PluginError):
    """The host was asked and does not know the plug-in that was installed."""


class LibrariesError(PluginError):
    """The host's Python lacks zmq or msgpack, and they could not be installed."""
