"""Fixtures of the API's tests."""

from support.job_event_faults import deafness

__all__ = ["deafness"]
