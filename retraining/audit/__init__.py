"""Who did what, and when: the log that nothing changes or deletes."""
