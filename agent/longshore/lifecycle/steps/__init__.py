"""One file per resource of a container: how it is made, and beside it how it is undone."""
