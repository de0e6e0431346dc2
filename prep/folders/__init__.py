"""From recognised sources to class folders and their manifest: resumable, whole folders only.

The functions behind ``feedline prep`` and what they write belong here. Recognising a source belongs to ``sources``.
"""
