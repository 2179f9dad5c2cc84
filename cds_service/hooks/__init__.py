"""Hook requests: contexts, services, prefetch templates, and the one path from request to answer."""
