"""Google Cloud Tasks."""
