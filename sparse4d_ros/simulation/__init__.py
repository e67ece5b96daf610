"""A synthetic driving world with exact ground truth, rendered for six cameras.

A seed chooses everything. :mod:`world` puts it together: :mod:`town` lays out streets and
junctions, :mod:`surroundings` and :mod:`kerbside` furnish them, :mod:`spawn`, :mod:`routes` and
:mod:`traffic` move vehicles, :mod:`walkers` pedestrians; :mod:`look` chooses sun and sky. Bodies
are built in :mod:`vehicles`, :mod:`street_users` and :mod:`scenery` from :mod:`shapes` and listed
in :mod:`catalogue`. :mod:`renderer` draws what a camera of :mod:`rig` sees, and :mod:`drive` turns
that into labelled frames. :mod:`splits` keeps validation towns out of training.

What the world does not contain yet: night and rain, hills, lens effects, animated limbs, lights
that work, animals, and people who do anything but walk, stand and ride.
"""
