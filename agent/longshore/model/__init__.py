"""What is true: values and decisions. No clock, no I/O."""
