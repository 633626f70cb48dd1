"""The parts of check_dockerfile.py: reading a Dockerfile, and doing what it says."""
