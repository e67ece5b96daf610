// The reading as a layer of TensorRT, 10.3 to 11: `DeformableAggregation`, version 1, in no namespace.
//
// Inputs: points and weights (float), then a map for each level (all float or all half), as aggregation.h has them, of
// static shapes; output: float [batch, anchors, channels]. Field `drop_border` (INT32): 1 drops what lies on the
// border of a picture or beyond. What does not fit is refused by an error code, and said on stderr: the logger that
// TensorRT hands to a plugin changed its layout between 10 and 11.

#include <NvInferRuntime.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>

#include "aggregation.h"

using namespace nvinfer1;

namespace {

constexpr char const* kName = "DeformableAggregation";
constexpr char const* kVersion = "1";
constexpr char const* kField = "drop_border";
constexpr int32_t kFirstMap = 2;
constexpr int32_t kMaxInputs = kFirstMap + sparse4d::kMaxLevels;

int32_t refuse(char const* reason) noexcept {
    std::fprintf(stderr, "%s: %s\n", kName, reason);
    return 1;
}

// Fills everything of `shape` but `drop`; returns nothing, or what is wrong with the inputs.
char const* read_shape(Dims const* in, int32_t count, sparse4d::Shape& shape) noexcept {
    if (count <= kFirstMap || count > kMaxInputs) return "it takes points, weights and one to eight maps";
    for (int32_t index = 0; index < count; ++index) {
        if (in[index].nbDims != (index == 1 ? 6 : 5)) return "points and maps have five dimensions, weights six";
        for (int32_t axis = 0; axis < in[index].nbDims; ++axis)
            if (in[index].d[axis] < 1 || in[index].d[axis] > INT32_MAX) return "a shape is dynamic, empty or too large";
    }
    auto const size = [in](int32_t index, int32_t axis) { return static_cast<int>(in[index].d[axis]); };
    shape.batch = size(0, 0), shape.cameras = size(0, 1), shape.anchors = size(0, 2), shape.points = size(0, 3);
    shape.levels = count - kFirstMap, shape.groups = size(1, 5), shape.channels = size(kFirstMap, 4);
    if (size(0, 4) != 2) return "points must be [batch, cameras, anchors, points, 2]";
    int const weights[] = {shape.batch, shape.anchors, shape.cameras, shape.levels, shape.points};
    for (int32_t axis = 0; axis < 5; ++axis)
        if (size(1, axis) != weights[axis]) return "weights must be [batch, anchors, cameras, levels, points, groups]";
    for (int32_t level = 0; level < shape.levels; ++level) {
        int32_t const map = kFirstMap + level;
        if (size(map, 0) != shape.batch || size(map, 1) != shape.cameras || size(map, 4) != shape.channels)
            return "maps must be [batch, cameras, height, width, channels]";
        shape.heights[level] = size(map, 2), shape.widths[level] = size(map, 3);
    }
    if (shape.channels % shape.groups != 0) return "the groups must share the channels evenly";
    if (shape.batch > 65535) return "the batch is too large";
    return nullptr;
}

class Aggregation final : public IPluginV3,
                          public IPluginV3OneCore,
                          public IPluginV3OneBuild,
                          public IPluginV3OneRuntime {
public:
    explicit Aggregation(int32_t drop) noexcept : drop_(drop) {}
    Aggregation(Aggregation const& other) noexcept
        : IPluginV3(other), IPluginV3OneCore(other), IPluginV3OneBuild(other), IPluginV3OneRuntime(other),
          drop_(other.drop_), half_(other.half_), shape_(other.shape_) {}

    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        switch (type) {
        case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
        case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
        case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    IPluginV3* clone() noexcept override { return new (std::nothrow) Aggregation(*this); }
    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

    AsciiChar const* getPluginName() const noexcept override { return kName; }
    AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    AsciiChar const* getPluginNamespace() const noexcept override { return ""; }

    int32_t getNbOutputs() const noexcept override { return 1; }

    int32_t getOutputDataTypes(DataType* out, int32_t, DataType const*, int32_t) const noexcept override {
        out[0] = DataType::kFLOAT;
        return 0;
    }

    int32_t getOutputShapes(DimsExprs const* in, int32_t count, DimsExprs const*, int32_t, DimsExprs* out, int32_t,
        IExprBuilder&) noexcept override {
        if (count <= kFirstMap || in[0].nbDims != 5 || in[kFirstMap].nbDims != 5)
            return refuse("it takes points, weights and one to eight maps; points and maps have five dimensions");
        out[0].nbDims = 3;
        out[0].d[0] = in[0].d[0];
        out[0].d[1] = in[0].d[2];
        out[0].d[2] = in[kFirstMap].d[4];
        return 0;
    }

    bool supportsFormatCombination(
        int32_t position, DynamicPluginTensorDesc const* all, int32_t count, int32_t) noexcept override {
        DataType const type = all[position].desc.type;
        bool const known = position == kFirstMap && count > kFirstMap
            ? type == DataType::kFLOAT || type == DataType::kHALF
            : type == (position > kFirstMap && position < count ? all[kFirstMap].desc.type : DataType::kFLOAT);
        return known && all[position].desc.format == TensorFormat::kLINEAR;
    }

    int32_t configurePlugin(
        DynamicPluginTensorDesc const* in, int32_t count, DynamicPluginTensorDesc const*, int32_t) noexcept override {
        return take(in, count, [](DynamicPluginTensorDesc const& tensor) { return tensor.desc; });
    }

    int32_t onShapeChange(
        PluginTensorDesc const* in, int32_t count, PluginTensorDesc const*, int32_t) noexcept override {
        return take(in, count, [](PluginTensorDesc const& tensor) { return tensor; });
    }

    int32_t enqueue(PluginTensorDesc const*, PluginTensorDesc const*, void const* const* in, void* const* out, void*,
        cudaStream_t stream) noexcept override {
        if (shape_.levels == 0) return refuse("it was not told its shapes");
        char const* const problem = sparse4d_aggregate(&shape_, in + kFirstMap, half_,
            static_cast<float const*>(in[0]), static_cast<float const*>(in[1]), static_cast<float*>(out[0]), stream);
        return problem == nullptr ? 0 : refuse(problem);
    }

    PluginFieldCollection const* getFieldsToSerialize() noexcept override { return &fields_; }

private:
    template <typename Tensor, typename Description>
    int32_t take(Tensor const* in, int32_t count, Description description) noexcept {
        Dims dims[kMaxInputs];
        for (int32_t index = 0; index < count && index < kMaxInputs; ++index) dims[index] = description(in[index]).dims;
        sparse4d::Shape shape{};
        if (char const* const problem = read_shape(dims, count, shape)) return refuse(problem);
        shape.drop = drop_ != 0;
        shape_ = shape;
        half_ = description(in[kFirstMap]).type == DataType::kHALF;
        return 0;
    }

    int32_t drop_;
    bool half_{false};
    sparse4d::Shape shape_{};
    PluginField field_{kField, &drop_, PluginFieldType::kINT32, 1};
    PluginFieldCollection fields_{1, &field_};
};

class Creator final : public IPluginCreatorV3One {
public:
    IPluginV3* createPlugin(AsciiChar const*, PluginFieldCollection const* in, TensorRTPhase) noexcept override {
        for (int32_t index = 0; in != nullptr && index < in->nbFields; ++index) {
            PluginField const& field = in->fields[index];
            if (std::strcmp(field.name, kField) == 0 && field.type == PluginFieldType::kINT32 && field.length == 1)
                return new (std::nothrow) Aggregation(*static_cast<int32_t const*>(field.data));
        }
        refuse("the field drop_border (INT32) is missing");
        return nullptr;
    }
    PluginFieldCollection const* getFieldNames() noexcept override { return &fields_; }
    AsciiChar const* getPluginName() const noexcept override { return kName; }
    AsciiChar const* getPluginVersion() const noexcept override { return kVersion; }
    AsciiChar const* getPluginNamespace() const noexcept override { return ""; }

private:
    PluginField field_{kField, nullptr, PluginFieldType::kINT32, 1};
    PluginFieldCollection fields_{1, &field_};
};

}  // namespace

// The two functions that TensorRT looks for in a library of plugins.
extern "C" __attribute__((visibility("default"))) IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static Creator creator;
    static IPluginCreatorInterface* const creators[] = {&creator};
    count = 1;
    return creators;
}

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(ILoggerFinder*) {}
