"""The I/O process: talks with clients and holds their pictures. It never computes, and nothing here loads torch."""
