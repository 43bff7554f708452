"""Who asks, on the node: the verbs over gRPC and a unix socket, also while the bus is down."""
