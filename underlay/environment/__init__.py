"""Makes the environment that `make` runs everything in. Standard library only: nothing is installed yet."""
