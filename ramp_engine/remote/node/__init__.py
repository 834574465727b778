"""What runs on the nodes of a cluster: the task of the engine, and the agent that it talks to."""
