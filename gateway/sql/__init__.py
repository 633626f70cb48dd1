"""The one place where SQL is written: migrations and named queries."""
