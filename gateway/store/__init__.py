"""The one door to Redis and Valkey. `docs/store.md` lists every key, its type, its owner and its expiry."""
