// The reading on a GPU: a block for each anchor, a thread for each channel.
#include <cuda_fp16.h>

#include "aggregation.h"

namespace {

constexpr int kWarp = 32, kMaxThreads = 256;

template <typename Value>
__global__ void __launch_bounds__(kMaxThreads) read_maps(
    __grid_constant__ sparse4d::Shape const shape, __grid_constant__ sparse4d::Inputs<Value> const in, float* out) {
    int const anchor = blockIdx.x, batch = blockIdx.y;
    for (int channel = threadIdx.x; channel < shape.channels; channel += blockDim.x) {
        long long const row = static_cast<long long>(batch) * shape.anchors + anchor;
        out[row * shape.channels + channel] = sparse4d::aggregate(shape, in, batch, anchor, channel);
    }
}

template <typename Value>
void launch(sparse4d::Shape const& shape, void const* const* maps, float const* points, float const* weights,
    float* out, cudaStream_t stream) {
    sparse4d::Inputs<Value> in{{}, points, weights};
    for (int level = 0; level < shape.levels; ++level) in.maps[level] = static_cast<Value const*>(maps[level]);
    int const whole_warps = (shape.channels + kWarp - 1) / kWarp * kWarp;
    int const threads = whole_warps < kMaxThreads ? whole_warps : kMaxThreads;
    read_maps<<<dim3(shape.anchors, shape.batch), threads, 0, stream>>>(shape, in, out);
}

}  // namespace

extern "C" char const* sparse4d_aggregate(sparse4d::Shape const* shape, void const* const* maps, bool half,
    float const* points, float const* weights, float* out, void* stream) {
    auto const run = half ? launch<__half> : launch<float>;
    run(*shape, maps, points, weights, out, static_cast<cudaStream_t>(stream));
    cudaError_t const error = cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
