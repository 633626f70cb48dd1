"""HTTP handlers: parse, call, respond."""
