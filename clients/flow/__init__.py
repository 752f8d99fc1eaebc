"""`exchange flow`: a seeded, realistic flow of many clients against a running exchange."""
