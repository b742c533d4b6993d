"""How fast assets are tagged, at what cost, and against one blocking call for each task."""
