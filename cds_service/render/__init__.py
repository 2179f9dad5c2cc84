"""PURE: determinations into cards, suggestions, explanations and coverage-information."""
