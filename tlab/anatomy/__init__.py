"""What a model is made of: Hugging Face's modules, found and named once, so that all else is the same for all."""
