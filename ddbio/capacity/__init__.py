"""Capacity: a token bucket with debt, the governor that makes coroutines wait for it, and the job's budget."""

from ddbio.capacity.adaptive import Budget, Pace
from ddbio.capacity.bucket import Bucket
from ddbio.capacity.control import Control
from ddbio.capacity.governor import Governor, Permit

__all__ = ["Bucket", "Budget", "Control", "Governor", "Pace", "Permit"]
