"""What a client typed → a path in the filespace. Pure functions, no I/O."""
