"""How often somebody may ask: budgets that refill evenly, in memory or shared through Redis."""
