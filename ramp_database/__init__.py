"""What is true: the tables of a deployment, the queue, results and leaderboards."""
