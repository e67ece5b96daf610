"""The GLSL programs: ground, bodies, sky. All write colour, and depth with identity, in one pass.

Pictures are stored top row first, so clip space has y downwards and front faces turn clockwise.
"""

_VIEW = """
#version 330
uniform mat4 camera_from_world;
uniform vec4 lens;       // fx, fy, cx, cy divided by half the picture's width and height
uniform vec2 clip_range; // nearest and farthest depth in metres

vec4 to_clip(vec3 camera) {
    float n = clip_range.x, f = clip_range.y;
    return vec4(lens.x * camera.x + (lens.z - 1.0) * camera.z,
                lens.y * camera.y + (lens.w - 1.0) * camera.z,
                ((f + n) * camera.z - 2.0 * f * n) / (f - n), camera.z);
}
"""

_LIGHT = """
#version 330
uniform vec3 sun;
uniform vec3 sun_colour;
uniform vec3 ambient;
uniform vec3 horizon;
uniform float haze;
layout(location = 0) out vec4 colour;
layout(location = 1) out vec2 depth_and_id;

float hash(vec2 p) {
    return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453);
}

vec3 air(vec3 lit, float depth) {
    return mix(horizon, lit, exp(-haze * 0.01 * depth));
}
"""

GROUND_VERTEX = _VIEW + """
in vec2 in_position;
in vec3 in_colour;
in float in_grain;
out vec2 place;
out vec3 base;
out float depth;
flat out float grain;

void main() {
    vec3 camera = (camera_from_world * vec4(in_position, 0.0, 1.0)).xyz;
    gl_Position = to_clip(camera);
    place = in_position; base = in_colour; grain = in_grain; depth = camera.z;
}
"""

GROUND_FRAGMENT = _LIGHT + """
in vec2 place;
in vec3 base;
in float depth;
flat in float grain;

void main() {
    // Soft patches some metres wide; finer detail would only flicker at this resolution.
    vec2 cell = floor(place * 0.4), f = fract(place * 0.4);
    f = f * f * (3.0 - 2.0 * f);
    float patches = mix(mix(hash(cell), hash(cell + vec2(1, 0)), f.x),
                        mix(hash(cell + vec2(0, 1)), hash(cell + vec2(1, 1)), f.x), f.y);
    vec3 lit = base * (1.0 + grain * (patches - 0.5)) * (ambient + sun_colour * sun.z);
    colour = vec4(air(lit, depth), 1.0);
    depth_and_id = vec2(depth, 0.0);
}
"""

SHADOW_VERTEX = _VIEW + """
in vec2 in_corner;      // -1..1
in vec4 in_pose;        // x, y, z of the centre, yaw
in vec3 in_size;
uniform vec3 sun;
out vec2 place;
out float depth;

void main() {
    // The footprint with a soft border, drawn out away from the sun by half of the height.
    vec2 border = in_size.xy * 0.5 + 0.25;
    vec2 local = in_corner * border;
    vec2 world = mat2(cos(in_pose.w), sin(in_pose.w), -sin(in_pose.w), cos(in_pose.w)) * local;
    vec2 away = -sun.xy / max(sun.z, 0.3) * in_size.z * 0.35;
    world += away * step(0.0, dot(world, away)) + in_pose.xy;
    vec3 camera = (camera_from_world * vec4(world, 0.0, 1.0)).xyz;
    gl_Position = to_clip(camera);
    place = in_corner; depth = camera.z;
}
"""

SHADOW_FRAGMENT = _LIGHT + """
in vec2 place;
in float depth;

void main() {
    vec2 inside = smoothstep(vec2(1.0), vec2(0.65), abs(place));
    colour = vec4(air(vec3(0.05), depth), 0.62 * inside.x * inside.y);
    depth_and_id = vec2(depth, 0.0);
}
"""

BODY_VERTEX = _VIEW + """
in vec3 in_position;
in vec3 in_normal;
in vec3 in_colour;
in vec2 in_kind;        // tint, pattern
in vec4 in_pose;        // x, y, z of the centre, yaw
in vec3 in_size;
in vec3 in_paint;
in float in_id;
out vec3 local;
out float depth;
flat out vec3 normal;
flat out vec3 local_normal;
flat out vec3 base;
flat out float pattern;
flat out float id;

vec3 turn(vec3 v) {
    float c = cos(in_pose.w), s = sin(in_pose.w);
    return vec3(c * v.x - s * v.y, s * v.x + c * v.y, v.z);
}

void main() {
    local = in_position * in_size;
    local_normal = in_normal;
    normal = normalize(turn(in_normal / in_size));
    vec3 camera = (camera_from_world * vec4(turn(local) + in_pose.xyz, 1.0)).xyz;
    gl_Position = to_clip(camera);
    depth = camera.z;
    vec3 companion = in_paint.gbr * 0.6 + 0.05;
    base = in_colour * (in_kind.x < 0.5 ? vec3(1.0) : in_kind.x < 1.5 ? in_paint : companion);
    pattern = in_kind.y;
    id = in_id;
}
"""

BODY_FRAGMENT = _LIGHT + """
in vec3 local;
in float depth;
flat in vec3 normal;
flat in vec3 local_normal;
flat in vec3 base;
flat in float pattern;
flat in float id;

void main() {
    vec3 tone = base;
    if (pattern > 1.5) {
        tone *= 0.8 + 0.4 * hash(floor(local.xy * 2.5) + floor(local.z * 2.5));
    } else if (pattern > 0.5 && abs(local_normal.z) < 0.5) {
        // Windows: a grid in metres on the walls, fading with distance before it would alias.
        float across = abs(local_normal.x) > abs(local_normal.y) ? local.y : local.x;
        vec2 grid = fract(vec2(across / 2.7, local.z / 3.1));
        vec2 pane = step(vec2(0.28, 0.30), grid) * step(grid, vec2(0.78, 0.80));
        float contrast = pane.x * pane.y * clamp(1.4 - depth / 60.0, 0.0, 1.0);
        tone = mix(tone, vec3(0.20, 0.24, 0.30), 0.8 * contrast);
    }
    vec3 lit = tone * (ambient * (0.80 + 0.20 * normal.z) + sun_colour * max(dot(normal, sun), 0.0));
    colour = vec4(air(lit, depth), 1.0);
    depth_and_id = vec2(depth, id);
}
"""

SKY_VERTEX = """
#version 330
in vec2 in_corner;
out vec2 place;

void main() {
    gl_Position = vec4(in_corner, 1.0, 1.0);
    place = in_corner;
}
"""

SKY_FRAGMENT = """
#version 330
uniform mat4 camera_from_world;
uniform vec4 lens;
uniform vec3 zenith;
uniform vec3 horizon;
in vec2 place;
layout(location = 0) out vec4 colour;
layout(location = 1) out vec2 depth_and_id;

void main() {
    vec3 ray = vec3((place.x - lens.z + 1.0) / lens.x, (place.y - lens.w + 1.0) / lens.y, 1.0);
    float up = normalize(transpose(mat3(camera_from_world)) * ray).z;
    colour = vec4(mix(horizon, zenith, clamp(2.2 * up, 0.0, 1.0)), 1.0);
    depth_and_id = vec2(uintBitsToFloat(0x7f800000u), 0.0);  // infinity
}
"""
