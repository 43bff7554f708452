"""OpenStack's image service: container images kept in Glance as archives.

    settings   what [glance] says
    api        one question to Glance, with a token of Keystone; errors translated
    image      what Glance says about an image, checked
    attended   work in a thread that can be given up
    download   an image's data into an unnamed file, verified
    upload     an image of this node to Glance
    source     all of it, as lifecycle sees it

keystoneauth1 is imported with the first question, so that a node without Glance never pays for it.
"""
