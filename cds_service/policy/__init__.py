"""PURE: what a policy is, how it is loaded, and how its criteria are evaluated on a case."""
