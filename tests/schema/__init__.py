"""The OpenAPI schema, as committed."""
