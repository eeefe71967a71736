"""Sessions that several processes share: who writes each, its copy in the store, what processes say to each other."""
