"""Rigid transforms as a translation and a quaternion, in plain Python floats.

A tf lookup multiplies three or four of them. At that size NumPy and SciPy cost more in calls than in
arithmetic (one SciPy ``Slerp`` is slower than a whole lookup here), so this is the one place where the
arithmetic is written out; the tests compare it with SciPy. Quaternions are ``x y z w``.
"""

from __future__ import annotations

from math import acos, sin, sqrt
from typing import NamedTuple

import numpy as np

# Below this angle (cosine above) the chord is the arc to double precision, and sin() would divide zero by zero.
_NEARLY_PARALLEL = 1.0 - 1e-9


class Rigid(NamedTuple):
    """``parent_from_child``: takes points of the child frame to the parent frame."""

    tx: float
    ty: float
    tz: float
    qx: float
    qy: float
    qz: float
    qw: float

    def normalised(self) -> Rigid:
        """The same pose with a quaternion of unit length."""
        norm = sqrt(self.qx * self.qx + self.qy * self.qy + self.qz * self.qz + self.qw * self.qw)
        return Rigid(self.tx, self.ty, self.tz, self.qx / norm, self.qy / norm, self.qz / norm, self.qw / norm)


IDENTITY = Rigid(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def _rotate(qx: float, qy: float, qz: float, qw: float, x: float, y: float, z: float) -> tuple[float, float, float]:
    # v + 2 w (q x v) + 2 q x (q x v)
    cx, cy, cz = 2.0 * (qy * z - qz * y), 2.0 * (qz * x - qx * z), 2.0 * (qx * y - qy * x)
    return (x + qw * cx + qy * cz - qz * cy, y + qw * cy + qz * cx - qx * cz, z + qw * cz + qx * cy - qy * cx)


def compose(a_from_b: Rigid, b_from_c: Rigid) -> Rigid:
    """``a_from_c``."""
    ax, ay, az, aw = a_from_b[3:]
    tx, ty, tz, bx, by, bz, bw = b_from_c
    rx, ry, rz = _rotate(ax, ay, az, aw, tx, ty, tz)
    return Rigid(a_from_b[0] + rx, a_from_b[1] + ry, a_from_b[2] + rz,
                 aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
                 aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz)


def invert(a_from_b: Rigid) -> Rigid:
    """``b_from_a``."""
    tx, ty, tz, qx, qy, qz, qw = a_from_b
    rx, ry, rz = _rotate(-qx, -qy, -qz, qw, tx, ty, tz)
    return Rigid(-rx, -ry, -rz, -qx, -qy, -qz, qw)


def interpolate(first: Rigid, second: Rigid, fraction: float) -> Rigid:
    """Linear in the translation, spherical on the shorter arc in the rotation, as tf2 does."""
    ax, ay, az, aw = first[3:]
    bx, by, bz, bw = second[3:]
    cosine = ax * bx + ay * by + az * bz + aw * bw
    sign = 1.0
    if cosine < 0.0:
        cosine, sign = -cosine, -1.0
    rest = 1.0 - fraction
    if cosine > _NEARLY_PARALLEL:
        u, v = rest, fraction * sign
    else:
        angle = acos(cosine)
        scale = sin(angle)
        u, v = sin(rest * angle) / scale, sin(fraction * angle) * sign / scale
    qx, qy, qz, qw = u * ax + v * bx, u * ay + v * by, u * az + v * bz, u * aw + v * bw
    norm = sqrt(qx * qx + qy * qy + qz * qz + qw * qw)
    return Rigid(rest * first[0] + fraction * second[0], rest * first[1] + fraction * second[1],
                 rest * first[2] + fraction * second[2], qx / norm, qy / norm, qz / norm, qw / norm)


def matrix(a_from_b: Rigid) -> np.ndarray:
    """The 4x4 float64 matrix."""
    tx, ty, tz, x, y, z, w = a_from_b
    xx, yy, zz, xy, xz, yz, wx, wy, wz = x * x, y * y, z * z, x * y, x * z, y * z, w * x, w * y, w * z
    return np.array(((1.0 - 2.0 * (yy + zz), 2.0 * (xy - wz), 2.0 * (xz + wy), tx),
                     (2.0 * (xy + wz), 1.0 - 2.0 * (xx + zz), 2.0 * (yz - wx), ty),
                     (2.0 * (xz - wy), 2.0 * (yz + wx), 1.0 - 2.0 * (xx + yy), tz),
                     (0.0, 0.0, 0.0, 1.0)))
