"""The description of the API, made from its routes and from what they take and answer."""
