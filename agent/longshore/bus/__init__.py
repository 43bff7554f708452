"""Who asks, from afar: the only place that knows oslo.messaging.

Importing this package chooses oslo.service's threading backend, unless the process (a
scheduler that imports the client) has chosen already. It has to happen before oslo_messaging
is imported, which would otherwise choose eventlet.
"""

import warnings

from oslo_service import backend

if backend.get_backend_type() is None:
    with warnings.catch_warnings():
        # oslo.service brings eventlet along, and something on the way imports whatever eventlet
        # it finds. That it is deprecated is no news to whoever chooses threads.
        warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")
        backend.init_backend(backend.BackendType.THREADING)
