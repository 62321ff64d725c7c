"""The client of the AdaIN server: the wire protocol, connections, and finding or starting a server.

It needs only the standard library, zmq and msgpack, because it runs in the hosts' own Python.
"""
