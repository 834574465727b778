"""The process that holds the client of a cluster, and how a dispatcher talks to it."""
