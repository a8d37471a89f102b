"""How the bytes of a scene are reached: URLs, stores, open datasets, identities."""
