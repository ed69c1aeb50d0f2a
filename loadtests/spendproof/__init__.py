"""The proof that a budget is never overspent and that its books agree: replicas die at random, the API keeps a bill."""
