"""What tests of several folders share: servers and peers of every kind, pictures, and a look at processes."""
