"""Measurements on the real thing, and the private neighbours (lab/) that they and tests use."""
