"""The database: row locks, retries, times and text as every database stores them."""
