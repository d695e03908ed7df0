"""One group of experiments a module: each recipe composes a program from what every library's dialect can say."""
