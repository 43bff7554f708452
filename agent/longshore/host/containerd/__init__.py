"""containerd over gRPC: content, images, snapshots, records, tasks and events of one namespace."""
