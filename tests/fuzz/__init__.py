"""What outsiders may send: signed garbage, payloads with a part changed, rules, searches."""
