"""The client of the AdaIN server: standard library, zmq and msgpack only; runs in the hosts' own Python."""
