"""Simulated bought APIs of pictures, films and sound: one file per provider, each speaking that provider's own wire.

They lean on nothing of the gateway: shapes, states and prices were written down anew from the providers' documents and
SDKs, so that a mistake of ours is not made twice in the same way.
"""
