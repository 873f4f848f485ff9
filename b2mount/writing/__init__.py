"""The bytes that are not in B2 yet: edited, sealed, journaled, sent."""
