"""A synthetic driving world with exact ground truth, rendered for six cameras.

A seed chooses everything. :mod:`world` puts it together: :mod:`town` lays out streets and
junctions, :mod:`surroundings` and :mod:`kerbside` furnish them, :mod:`spawn`, :mod:`routes` and
:mod:`traffic` move vehicles, :mod:`walkers` pedestrians; :mod:`look` chooses sun and sky. Bodies
are built in :mod:`vehicles`, :mod:`street_users` and :mod:`scenery` from :mod:`shapes` and listed
in :mod:`catalogue`. :mod:`renderer` draws what a camera of :mod:`rig` sees, and :mod:`drive` turns
that into labelled frames. :mod:`splits` keeps validation towns out of training.

Instead of a town, :mod:`tracks_scene` shows recorded motion (:mod:`tracks`, read by :mod:`tracks_file`,
made by :mod:`tracks_record`) on :mod:`open_land`, both as a :class:`scene.Scene`; :mod:`models` puts model
files in the place of bodies. :mod:`variety` and :mod:`weather` draw how drives differ, :mod:`weathering`
applies it: :mod:`lamps` and :mod:`sway` in the world, :mod:`lens` on the pictures.

What the world does not contain: see docs/simulation.md.
"""
