"""TeamCache gateway: cache jobs over REST, with progress in files and bytes."""
