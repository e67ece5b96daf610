"""What stands in a town and is no object: buildings, trees, lamp posts, fences, kiosks.

These occlude. Instances carry size and colour; a building is a unit box with a window pattern.
"""

from __future__ import annotations

from sparse4d_ros.simulation.shapes import FACADE, FOLIAGE, GLOW, PRIMARY, SECONDARY, Mesh, ball, block, mesh, tube

BARK = (0.32, 0.24, 0.17)
LEAF = (1.0, 1.0, 1.0)
METAL = (0.33, 0.35, 0.37)


def meshes() -> list[Mesh]:
    """Building, gabled house, broad tree, conifer, lamp post, fence, kiosk."""
    return [
        mesh("building", [
            block((-5, 5), (-5, 5), (0, 9.6), (1, 1, 1), PRIMARY, pattern=FACADE),
            block((-5, 5), (-5, 5), (9.6, 10), (0.7, 0.7, 0.7), SECONDARY),
        ]),
        mesh("house", [
            block((-5, 5), (-5, 5), (0, 6.5), (1, 1, 1), PRIMARY, pattern=FACADE),
            block((-5, 5), (-5, 5), (6.5, 10), (0.55, 0.42, 0.38), SECONDARY, top_y=(-0.1, 0.1)),
        ]),
        mesh("tree", [
            tube((0, 0, 0), (0, 0, 3.0), 0.22, BARK, sides=6),
            *ball((0.0, 0.0, 4.4), (2.0, 2.0, 2.0), LEAF, PRIMARY, FOLIAGE),
            *ball((0.9, 0.6, 3.6), (1.2, 1.2, 1.1), (0.9, 0.9, 0.9), PRIMARY, FOLIAGE),
            *ball((-0.9, -0.5, 3.7), (1.2, 1.3, 1.1), (0.85, 0.85, 0.85), PRIMARY, FOLIAGE),
        ]),
        mesh("conifer", [
            tube((0, 0, 0), (0, 0, 1.2), 0.20, BARK, sides=6),
            tube((0, 0, 1.0), (0, 0, 3.4), 1.6, LEAF, PRIMARY, end_radius=0.7, sides=7, pattern=FOLIAGE),
            tube((0, 0, 3.0), (0, 0, 6.5), 1.1, (0.9, 0.9, 0.9), PRIMARY, end_radius=0.05, sides=7, pattern=FOLIAGE),
        ]),
        mesh("lamp_post", [
            tube((0, 0, 0), (0, 0, 7.0), 0.09, METAL, sides=6),
            tube((0, 0, 6.95), (1.9, 0, 7.25), 0.06, METAL),
            block((1.5, 2.2), (-0.14, 0.14), (7.15, 7.32), (0.85, 0.85, 0.80), pattern=GLOW),
        ]),
        mesh("fence", [
            block((-4, 4), (-0.03, 0.03), (0.1, 1.25), (0.8, 0.8, 0.8), PRIMARY),
            *[block((x - 0.06, x + 0.06), (-0.06, 0.06), (0, 1.4), METAL) for x in (-4, -2, 0, 2, 4)],
        ]),
        mesh("kiosk", [
            block((-1.5, 1.5), (-0.6, 0.6), (0.0, 0.9), (0.6, 0.6, 0.6), PRIMARY),
            block((-1.5, 1.5), (-0.6, -0.5), (0.9, 2.2), (0.35, 0.42, 0.46)),
            block((-1.6, 1.6), (-0.8, 0.8), (2.2, 2.4), (0.9, 0.9, 0.9), PRIMARY),
        ]),
    ]
