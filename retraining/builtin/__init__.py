"""The models that come with the product, and their data."""
