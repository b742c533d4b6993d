"""How fast assets are tagged, at what cost, and compared with one blocking call for each task."""
