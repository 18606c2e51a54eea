"""What a team writes to bring its model, and how models are found."""
