// The reading of image features that deformable aggregation does: for each anchor the weighted sum of what the maps
// of all cameras and levels hold where its key points fall. The arithmetic alone, for GPU and CPU alike.
//
// The same numbers as sparse4d_ros/model/aggregation.py, but that a point that is not a number reads nothing.
#ifndef SPARSE4D_AGGREGATION_H
#define SPARSE4D_AGGREGATION_H

#include <math.h>

#ifdef __CUDACC__
#define SPARSE4D_BOTH __host__ __device__
#else
#define SPARSE4D_BOTH
#endif

namespace sparse4d {

constexpr int kMaxLevels = 8;

// Sizes of one reading. `drop` is the published kernel's rule: a point on the border of a picture, or beyond it, reads
// nothing. Without it a map is surrounded by zeros, and half a cell beyond its border still is between them.
struct Shape {
    int batch, cameras, anchors, points, levels, groups, channels;
    int heights[kMaxLevels], widths[kMaxLevels];
    bool drop;
};

// Row-major, the last index fastest. Channels lie together, so that neighbouring threads read neighbouring values.
template <typename Value>
struct Inputs {
    Value const* maps[kMaxLevels];  // [batch, cameras, height, width, channels] of each level
    float const* points;            // [batch, cameras, anchors, points, 2]: x, y in 0..1
    float const* weights;           // [batch, anchors, cameras, levels, points, groups]
};

// One channel of a map [height, width, channels] between the four cells around (x, y); zero beyond the border.
template <typename Value>
SPARSE4D_BOTH inline float between_cells(Value const* map, int height, int width, int channels, float x, float y) {
    float const column = x * width - 0.5f, row = y * height - 0.5f;
    if (!(column > -1.f && column < width && row > -1.f && row < height)) return 0.f;  // nor what is not a number
    int const left = static_cast<int>(floorf(column)), top = static_cast<int>(floorf(row));
    float const right_share = column - left, bottom_share = row - top;
    float sum = 0.f;
    for (int down = 0; down < 2; ++down) {
        for (int along = 0; along < 2; ++along) {
            int const i = top + down, j = left + along;
            if (i < 0 || i >= height || j < 0 || j >= width) continue;
            float const share = (down ? bottom_share : 1.f - bottom_share) * (along ? right_share : 1.f - right_share);
            sum += share * static_cast<float>(map[(static_cast<long long>(i) * width + j) * channels]);
        }
    }
    return sum;
}

// One value of the output [batch, anchors, channels]. Threads that differ in the channel alone take the same branches.
template <typename Value>
SPARSE4D_BOTH inline float aggregate(Shape const& shape, Inputs<Value> const& in, int batch, int anchor, int channel) {
    int const group = channel / (shape.channels / shape.groups);
    float sum = 0.f;
    for (int camera = 0; camera < shape.cameras; ++camera) {
        long long const picture = static_cast<long long>(batch) * shape.cameras + camera;
        long long const seen_by = (static_cast<long long>(batch) * shape.anchors + anchor) * shape.cameras + camera;
        float const* const points = in.points + (picture * shape.anchors + anchor) * shape.points * 2;
        float const* const weights = in.weights + seen_by * shape.levels * shape.points * shape.groups + group;
        for (int point = 0; point < shape.points; ++point) {
            float const x = points[2 * point], y = points[2 * point + 1];
            if (shape.drop && !(x > 0.f && x < 1.f && y > 0.f && y < 1.f)) continue;
            for (int level = 0; level < shape.levels; ++level) {
                int const height = shape.heights[level], width = shape.widths[level];
                Value const* const map = in.maps[level] + picture * height * width * shape.channels + channel;
                sum += weights[(level * shape.points + point) * shape.groups]
                    * between_cells(map, height, width, shape.channels, x, y);
            }
        }
    }
    return sum;
}

}  // namespace sparse4d

// Queues the whole reading on a CUDA stream (a cudaStream_t): maps of half precision or of float, `out` of float
// [batch, anchors, channels]. Returns nothing, or why CUDA refused.
extern "C" char const* sparse4d_aggregate(sparse4d::Shape const* shape, void const* const* maps, bool half,
    float const* points, float const* weights, float* out, void* stream);

#endif
