"""The servers of the product as one supervised thing: `retraining up`."""
