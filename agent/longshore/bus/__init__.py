"""Who asks, from afar: the only place that knows oslo.messaging.

Importing this package chooses oslo.service's threading backend, unless the process (a
scheduler that imports the client) has chosen already. It has to happen before oslo_messaging
is imported, which would otherwise choose eventlet.
"""

import importlib
import sys

from oslo_service import backend

if backend.get_backend_type() is None:
    # oslo.service brings eventlet along, and futurist and oslo.utils, on the way, import whatever
    # eventlet they find: 16 MB and a tenth of the agent's start, for what nothing here uses. So
    # they find none, unless the process has it already.
    hidden = sys.modules.setdefault("eventlet", None) is None  # type: ignore[arg-type]  # no module
    try:
        backend.init_backend(backend.BackendType.THREADING)
        importlib.import_module("oslo_messaging")
    finally:
        if hidden:
            del sys.modules["eventlet"]
