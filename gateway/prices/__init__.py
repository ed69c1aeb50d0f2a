"""The price book: what bought APIs and GPU hours cost, with source, date and confidence (docs/prices.md)."""
