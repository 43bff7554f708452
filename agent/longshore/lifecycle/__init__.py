"""What happens: the order of effects."""
