"""Registries: where most images come from (OCI's distribution API, which Docker's became).

settings    what the node says about each registry, and its credentials
patience    how long is waited, and who may call it off meanwhile
wire        sockets that keep to that
pools       connections over them, kept open for the next request
auth        who we say we are
http        one request to one repository: tokens, redirects, another try
refusal     what a registry's answer, or none, is as an error of ours
blob        the bytes of one blob, across broken connections and mirrors
source      what a name stands for now, and the image's content
registries  all of it together
"""
