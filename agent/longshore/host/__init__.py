"""Where it lands: one file per neighbour."""
