"""Private neighbours for tests, benchmarks and the demo.

A containerd and a RabbitMQ of one's own on loopback, in a folder of one's own, with images
built from Debian's busybox-static. The machine's own services are never touched; what is
ended are processes that were started here, each by its pid.
"""
