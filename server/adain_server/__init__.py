"""The server: an I/O process that never computes, and a worker that does nothing else."""
