"""`make prove-jobs`: jobs over gateway processes that are killed, with a store that is restarted."""
