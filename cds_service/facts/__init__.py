"""FHIR in: intake, extraction into a case, code systems, and the client for a caller's FHIR server."""
