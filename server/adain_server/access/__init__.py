"""Access control: ZeroMQ's authentication, and the keys of clients on other machines."""
