"""How our own media workers are spoken to that do not answer a request with its result, one file for each wire."""
