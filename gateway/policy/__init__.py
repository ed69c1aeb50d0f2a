"""Policy folders: files become data (source), shapes (schema), checked references, and a model.Policy (compile)."""
