"""Run the submissions of an event on a machine of one's own: ``worker_type: ssh``."""

from ramp_worker_ssh.config import SshWorkerConfig
from ramp_worker_ssh.worker import SshWorker

__all__ = ["SshWorker", "SshWorkerConfig"]
