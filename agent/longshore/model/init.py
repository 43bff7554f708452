"""The process that runs a container's command if asked to: it reaps zombies, and passes signals on.

It is a program of the node's, so that it is there whatever is in the image, and static, so that it
needs nothing from there.
"""

from __future__ import annotations

#: Where Debian's catatonit, tini and docker.io, and others' Docker, have one.
INITS = (
    "/usr/bin/catatonit",
    "/usr/bin/tini-static",
    "/usr/bin/docker-init",
    "/usr/libexec/docker/docker-init",
)
#: In the container. /dev is a file system of its own, so the image's files stay as they are.
PLACE = "/dev/.longshore-init"
