"""Ways to another machine: run a command there, put files, get files."""
