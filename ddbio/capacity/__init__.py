"""Capacity: a token bucket with debt, and the governor that makes coroutines wait for it."""

from ddbio.capacity.bucket import Bucket
from ddbio.capacity.governor import Governor, Permit

__all__ = ["Bucket", "Governor", "Permit"]
