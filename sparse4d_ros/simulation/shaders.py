"""The GLSL programs: ground, bodies, sky. All write colour, and depth with identity, in one pass.

Pictures are stored top row first, so clip space has y downwards and front faces turn clockwise. What stands
between `#ifdef VARIED` and `#endif` is for varied drives only (lamps, wet ground, the sun's disc): without it
the programs stay as they are to the bit, see :func:`sources`.
"""

#: Lamps that may shine into one picture.
MOST_LAMPS = 16

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
#ifdef VARIED
uniform vec3 eye;
uniform vec3 zenith;
uniform float wet;
uniform float shadow;
uniform float windows;
uniform int lamp_count;
uniform vec4 lamp_place[MOST_LAMPS];  // x, y, z, reach in metres
uniform vec4 lamp_aim[MOST_LAMPS];    // direction, cosine of half the opening angle
uniform vec3 lamp_colour[MOST_LAMPS];

vec3 lamp_light(vec3 point, vec3 normal, float gloss) {
    vec3 sum = vec3(0.0), bounce = reflect(normalize(point - eye), normal);
    for (int i = 0; i < lamp_count; ++i) {
        vec3 away = lamp_place[i].xyz - point;
        float span = length(away);
        vec3 towards = away / span;
        float share = span / lamp_place[i].w;
        // As the square of the distance far off. No peak near the lamp: cameras clip there, and beams pass above.
        float fall = smoothstep(0.0, 0.15, share) * max(1.0 - share * share, 0.0) / (1.0 + 12.0 * share * share);
        float cone = smoothstep(lamp_aim[i].w, 0.2 * lamp_aim[i].w + 0.8, -dot(towards, lamp_aim[i].xyz));
        // Rough surfaces send back some light at grazing angles too, as a road does before head lamps.
        float face = max(dot(normal, towards) + 0.25, 0.0) * 0.8;
        sum += lamp_colour[i] * (fall * cone * (face + gloss * pow(max(dot(bounce, towards), 0.0), 12.0)));
    }
    return sum;
}
#endif
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
#ifdef VARIED
    // Water darkens the ground and mirrors the sky, the more the flatter one looks at it.
    float film = wet * (0.55 + 0.45 * patches);
    vec3 point = vec3(place, 0.0), up = vec3(0.0, 0.0, 1.0), view = normalize(eye - point);
    lit *= 1.0 - 0.45 * film;
    lit += base * (1.0 - 0.45 * film) * lamp_light(point, up, 2.5 * film);
    float mirrored = film * (0.03 + 0.45 * pow(1.0 - max(view.z, 0.0), 4.0));
    lit = mix(lit, mix(horizon, zenith, clamp(2.2 * view.z, 0.0, 1.0)), mirrored);
#endif
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
#ifdef VARIED
    colour.a *= shadow;
#endif
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
#ifdef VARIED
in float in_lit;
out vec3 point;
flat out float lit_up;
#endif
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
#ifdef VARIED
    point = turn(local) + in_pose.xyz;
    lit_up = in_lit;
#endif
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
#ifdef VARIED
in vec3 point;
flat in float lit_up;
#endif

void main() {
    vec3 tone = base;
#ifdef VARIED
    vec3 glow = vec3(0.0);
#endif
    if (pattern > 1.5) {
        tone *= 0.8 + 0.4 * hash(floor(local.xy * 2.5) + floor(local.z * 2.5));
    } else if (pattern > 0.5 && abs(local_normal.z) < 0.5) {
        // Windows: a grid in metres on the walls, fading with distance before it would alias.
        float across = abs(local_normal.x) > abs(local_normal.y) ? local.y : local.x;
        vec2 grid = fract(vec2(across / 2.7, local.z / 3.1));
        vec2 pane = step(vec2(0.28, 0.30), grid) * step(grid, vec2(0.78, 0.80));
        float contrast = pane.x * pane.y * clamp(1.4 - depth / 60.0, 0.0, 1.0);
        tone = mix(tone, vec3(0.20, 0.24, 0.30), 0.8 * contrast);
#ifdef VARIED
        vec2 room = floor(vec2(across / 2.7, local.z / 3.1));
        float chance = hash(room + 7.0 * base.xy + 3.0 * local_normal.xy);
        glow = windows * step(0.78, chance) * contrast * mix(vec3(1.0, 0.72, 0.40), vec3(0.85, 0.9, 1.0), chance);
#endif
    }
    vec3 lit = tone * (ambient * (0.80 + 0.20 * normal.z) + sun_colour * max(dot(normal, sun), 0.0));
#ifdef VARIED
    if (pattern < -0.5 && lit_up > 0.5)
        glow = base * 1.3;
    lit += tone * lamp_light(point, normal, 0.0) + glow;
#endif
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
#ifdef VARIED
uniform vec3 sun;
uniform vec3 sun_colour;
uniform float sun_disc;
#endif
in vec2 place;
layout(location = 0) out vec4 colour;
layout(location = 1) out vec2 depth_and_id;

void main() {
    vec3 ray = vec3((place.x - lens.z + 1.0) / lens.x, (place.y - lens.w + 1.0) / lens.y, 1.0);
    float up = normalize(transpose(mat3(camera_from_world)) * ray).z;
    colour = vec4(mix(horizon, zenith, clamp(2.2 * up, 0.0, 1.0)), 1.0);
#ifdef VARIED
    float near = max(dot(normalize(transpose(mat3(camera_from_world)) * ray), sun), 0.0);
    float disc = 3.0 * smoothstep(0.9990, 0.9996, near) + 0.8 * pow(near, 400.0) + 0.35 * pow(near, 12.0);
    colour.rgb += sun_colour * sun_disc * disc;
#endif
    depth_and_id = vec2(uintBitsToFloat(0x7f800000u), 0.0);  // infinity
}
"""


def sources(varied: bool) -> dict[str, tuple[str, str]]:
    """Vertex and fragment source of each program by name: ground, shadow, body, sky."""
    programs = {"ground": (GROUND_VERTEX, GROUND_FRAGMENT), "shadow": (SHADOW_VERTEX, SHADOW_FRAGMENT),
                "body": (BODY_VERTEX, BODY_FRAGMENT), "sky": (SKY_VERTEX, SKY_FRAGMENT)}
    if not varied:
        return programs
    head = f"#version 330\n#define VARIED\n#define MOST_LAMPS {MOST_LAMPS}"
    return {name: tuple(text.replace("#version 330", head, 1) for text in pair) for name, pair in programs.items()}
