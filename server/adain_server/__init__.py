"""The command adain-server: an I/O process that talks to clients, a worker process that computes, and access control.

Each of the three has a folder of its own.
"""
