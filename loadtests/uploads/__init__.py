"""Large uploads of sound through a real gateway: what they take of its memory."""
