"""The facade's database: SQLite or PostgreSQL, its schema and its migrations."""
