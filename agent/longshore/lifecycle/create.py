"""What happens to a create request: this is the page to read first.

A message comes in by the bus or the local socket and has become a `ContainerSpec` (wire.py)
when it gets here. Then:

1. `containers.create` makes the whole of it (`creation.py`): the limits that its flavor fills in,
   and the mounts that `volumes_from` stands for (`borrowing.py`). It checks that against this node
   (rules, limits, what containerd and the kernel can, image, bind sources, disk limit, time zone
   and other files, secrets), seals the values of secrets, and admits it (`admission.py`): in one
   durable transaction the journal gets the record with the desired state, the digest of an image
   that is here (so that a tag that moves changes nothing), the sealed values, the content of files
   until they are written, the request's id, and the claims: on its name, addresses, MAC addresses
   and host ports, on how much it may use of what the node has, on named volumes (new ones are
   noted), on the containers that it borrows anonymous volumes of, and on a range of the node's
   user ids if it has a user namespace.
   Until then nothing on the host was touched, and a refusal leaves nothing. `fits` does the same,
   and rolls the transaction back (`fitting.py`).
2. `converge.settle` looks at the record and at containerd's task, decides (`model/plan.py`),
   and for a new container runs the steps below, in order. What a step found out is merged into
   the record; each is timed. An image that is not here is pulled in the first step, together
   with all others who ask for it (`pulls.py`): whoever waits for the container waits for it, and
   in the background nobody waits, the container is looked at again when the image has come.
3. When all ran, the record says `running` and the request its outcome, in one transaction.

When its process ends, all of RUN is undone, and the container is `stopped`. With `auto_remove` that
is not the end: the same transaction decides once more, that it is to be deleted
(`plan.once_ended`), unless somebody may still ask again for a start that failed for a reason that
may pass.

When a step fails, say the fifth: everything is undone from the last step back to the first. Each
undo needs nothing but the container's id, and is safe where `do` never ran. The record says
`failed` and why, its claims are given back, and the caller gets the step's error. An undo that
fails itself is kept in the record and retried by the tick; until it is through, the
claims stay.

When the agent dies, at any line: the containers live on. The next start calls the same
`converge.settle` for every record. Finds it `creating` with a running process, it completes
the steps around it; without one, it undoes what may be half there and begins anew. Nothing
else has to be remembered.

The same tuple serves everyone:

    create           run CREATE                          rollback, delete   unwind CREATE
    create no start  run PREPARE                         stop, exit         unwind RUN
    start            unwind RUN, then run RUN            agent start        whichever it was
    update           unwind RUN, then AROUND and RUN     rebuild            that, its layer first

A new resource of a container is a new step here, never a branch elsewhere.
"""

from __future__ import annotations

from longshore.lifecycle.steps import (
    data,
    disk,
    files,
    image,
    injected,
    limits,
    namespace,
    network,
    process,
    record,
    rootfs,
    secrets,
    start,
    task,
    users,
    volumes,
)

#: Lasts from create to delete: the image (pulled if need be), the writable snapshot (both under a
#: lease until containerd's record refers to it) and how large it may become, anonymous volumes
#: and, which stay even then, named ones, filled from the image; log files, /etc files, the
#: request's own files and public keys; containerd's record with the OCI spec.
PREPARE = (
    image.STEP,
    rootfs.STEP,
    disk.STEP,
    data.STEP,
    files.STEP,
    record.STEP,
)

#: Step of PREPARE → the same, over what an older version of the container has left.
_ANEW = {disk.STEP: disk.ANEW, files.STEP: files.ANEW}

#: Lasts from start to the end of the process: a user namespace if it has one, bind mounts (as seen
#: from in there), copies of its files, secrets, the network namespace, the task (which the runtime
#: begins to make), meanwhile interfaces and published ports, then the waiting process in its
#: cgroup, proof of its limits, its first instruction.
RUN = (
    users.STEP,
    volumes.STEP,
    injected.STEP,
    secrets.STEP,
    namespace.STEP,
    task.STEP,
    network.STEP,
    process.STEP,
    limits.STEP,
    start.STEP,
)

CREATE = PREPARE + RUN

#: What a new version of a container makes anew before it runs (`updates.py`): each step completes
#: what is there, the layer and what is in it stays.
AROUND = tuple(_ANEW.get(step, step) for step in PREPARE)

#: What goes first when it is to have the layer of another image. Its volumes stay.
LAYER = (rootfs.STEP, disk.STEP, record.STEP)
