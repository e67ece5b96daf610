// A CUDA driver whose device is the host, for tests of who calls it: the functions of cuda.h that sparse4d_ros uses.
// It is stricter than a real one: what is given back twice, a thread without a context, or work on a stream that a
// captured stream must not do, is an error, and what is alive is counted.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

using Work = std::vector<std::function<void()>>;

namespace {
std::set<void*> alive;
std::string failing;
int failure = 0;
bool capturing = false;
Work captured;
thread_local void* current = nullptr;
int context;  // its address is the handle

template <typename T> void* keep(T* item) { alive.insert(item); return item; }
bool drop(void* item) { return alive.erase(item) == 1; }
int queue(std::function<void()> work) {
    if (capturing) captured.push_back(work);
    else work();
    return 0;
}
}  // namespace

#define ENTER(name) if (failing == #name) return failure; if (current == nullptr) return 201
#define NOT_CAPTURING if (capturing) return 900

extern "C" {
// For the tests alone.
int host_driver_alive() { return static_cast<int>(alive.size()); }
void host_driver_fail(char const* function, int code) { failing = function; failure = code; }

int cuInit(unsigned) { return failing == "cuInit" ? failure : 0; }
int cuGetErrorString(int code, char const** text) { *text = code == 2 ? "out of memory" : "some error"; return 0; }
int cuDriverGetVersion(int* version) { *version = 12060; return 0; }
int cuDeviceGetCount(int* count) { *count = failing == "no device" ? 0 : 1; return 0; }
int cuDeviceGet(int* device, int index) { *device = index; return index == 0 ? 0 : 101; }
int cuDeviceGetName(char* name, int, int) { std::strcpy(name, "Orin"); return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute == 16 ? 8 : attribute == 75 ? 8 : attribute == 76 ? 7 : -1;
    return 0;
}
int cuDevicePrimaryCtxRetain(void** out, int) { *out = &context; return 0; }
int cuCtxSetCurrent(void* it) { current = it; return it == &context ? 0 : 201; }
int cuMemAlloc_v2(uint64_t* out, size_t size) {
    ENTER(cuMemAlloc_v2); NOT_CAPTURING;
    *out = reinterpret_cast<uint64_t>(keep(std::memset(std::malloc(size), 0xab, size)));
    return 0;
}
int cuMemFree_v2(uint64_t address) {
    ENTER(cuMemFree_v2);
    void* const item = reinterpret_cast<void*>(address);
    if (!drop(item)) return 1;
    std::free(item);
    return 0;
}
int cuMemHostAlloc(void** out, size_t size, unsigned) {
    ENTER(cuMemHostAlloc); NOT_CAPTURING;
    *out = keep(std::malloc(size));
    return 0;
}
int cuMemFreeHost(void* item) { ENTER(cuMemFreeHost); if (!drop(item)) return 1; std::free(item); return 0; }
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size, void*) {
    ENTER(cuMemsetD8Async);
    return queue([=] { std::memset(reinterpret_cast<void*>(to), value, size); });
}
int cuMemcpyHtoDAsync_v2(uint64_t to, void const* from, size_t size, void*) {
    ENTER(cuMemcpyHtoDAsync_v2);
    return queue([=] { std::memcpy(reinterpret_cast<void*>(to), from, size); });
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t size, void*) {
    ENTER(cuMemcpyDtoHAsync_v2);
    return queue([=] { std::memcpy(to, reinterpret_cast<void*>(from), size); });
}
int cuLaunchHostFunc(void*, void (*function)(void*), void* data) { return queue([=] { function(data); }); }
int cuStreamCreate(void** out, unsigned flags) {
    ENTER(cuStreamCreate);
    *out = keep(new char);
    return flags == 1 ? 0 : 1;
}
int cuStreamSynchronize(void*) { ENTER(cuStreamSynchronize); NOT_CAPTURING; return 0; }
int cuStreamDestroy_v2(void* it) { ENTER(cuStreamDestroy_v2); if (!drop(it)) return 1; delete static_cast<char*>(it); return 0; }
int cuStreamBeginCapture_v2(void*, int mode) {
    ENTER(cuStreamBeginCapture_v2); NOT_CAPTURING;
    capturing = true;
    captured.clear();
    return mode == 1 ? 0 : 1;
}
int cuStreamEndCapture(void*, void** out) {
    ENTER(cuStreamEndCapture);
    if (!capturing) return 1;
    capturing = false;
    *out = keep(new Work(captured));
    return 0;
}
int cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
    ENTER(cuGraphInstantiateWithFlags);
    *out = keep(new Work(*static_cast<Work*>(graph)));
    return 0;
}
int cuGraphDestroy(void* it) { ENTER(cuGraphDestroy); if (!drop(it)) return 1; delete static_cast<Work*>(it); return 0; }
int cuGraphExecDestroy(void* it) { return cuGraphDestroy(it); }
int cuGraphLaunch(void* graph, void*) {
    ENTER(cuGraphLaunch); NOT_CAPTURING;
    for (auto const& work : *static_cast<Work*>(graph)) work();
    return 0;
}
}
