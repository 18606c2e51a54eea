"""A job that does nothing: whoever starts it finds the warm server ready for the next one."""
