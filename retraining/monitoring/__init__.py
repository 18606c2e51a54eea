"""The checks behind the triggers: what moved since the champion was trained, and how well it still does."""
