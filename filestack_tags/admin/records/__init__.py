"""Records: tagging runs, deliveries, model files, outbound messages."""
