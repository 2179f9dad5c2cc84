"""CDS Hooks and Da Vinci CRD service: draft orders against coverage and guideline policies."""
