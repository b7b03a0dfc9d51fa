"""A stand-in for Terraform's Google provider, with the real one's schema: see provider.py."""
