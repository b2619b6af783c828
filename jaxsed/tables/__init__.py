"""Tables of what runs came to, for papers: rows are methods, columns models."""
