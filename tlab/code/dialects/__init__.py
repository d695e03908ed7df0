"""One library a module: how it loads a model, reads a place, writes to it and keeps a graph for gradients."""
