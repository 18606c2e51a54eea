"""Who may call the facade."""
