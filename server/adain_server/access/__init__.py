"""Who may talk to the server: ZeroMQ's authentication, and the keys of other machines."""
