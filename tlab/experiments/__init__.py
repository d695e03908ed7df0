"""One experiment a module; each is one function that takes a model and a prompt and returns a result."""
