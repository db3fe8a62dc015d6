"""Notes: free text of one patient's chart and measured facts, with a span for everything that it states."""
