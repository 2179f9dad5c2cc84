"""PURE: from traces to what each order gets: routing, roles, alternatives, findings."""
