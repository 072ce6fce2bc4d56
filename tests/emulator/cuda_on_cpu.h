// The part of CUDA that the kernels use, for g++, which compiles the same .cu sources to loops.
//
// As in CUDA, names are in the global namespace. Functions have overloads for float and for double
// only. A call that mixes the two does not compile, so that no float becomes a double unnoticed.
// There is no shared memory and no barrier: threads run one after the other.

#ifndef CUDA_ON_CPU_H
#define CUDA_ON_CPU_H

#include <utility>  // index_sequence; brings no mathematics into the global namespace

#define __global__
#define __device__

struct dim3 {
    unsigned int x = 1, y = 1, z = 1;
};
// A host thread runs one launch at a time; several host threads may do so at once.
static thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

#define ONE_ARGUMENT(name)                                           \
    inline float name(float x) { return __builtin_##name##f(x); }    \
    inline double name(double x) { return __builtin_##name(x); }
#define TWO_ARGUMENTS(name)                                                       \
    inline float name(float x, float y) { return __builtin_##name##f(x, y); }     \
    inline double name(double x, double y) { return __builtin_##name(x, y); }
ONE_ARGUMENT(fabs)
ONE_ARGUMENT(sqrt)
ONE_ARGUMENT(exp)
ONE_ARGUMENT(log)
ONE_ARGUMENT(log1p)
TWO_ARGUMENTS(fmin)
TWO_ARGUMENTS(fmax)
TWO_ARGUMENTS(pow)
#undef ONE_ARGUMENT
#undef TWO_ARGUMENTS

template <typename T>
inline T min(T a, T b) {
    return b < a ? b : a;
}
template <typename T>
inline T max(T a, T b) {
    return a < b ? b : a;
}

// Threads of one launch run one after the other; several host threads may launch at once.
inline int atomicAdd(int* address, int value) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}

// Sine and cosine of pi x: x is exactly reduced to at most 1/4, and a wider type does the rest.
inline void sincospi(double x, double* sine, double* cosine) {
    const double turn = __builtin_remainder(x, 2.0);
    const double quarter = __builtin_nearbyint(2.0 * turn);
    const long double angle = 3.14159265358979323846264338327950288L * (turn - 0.5 * quarter);
    const double s = static_cast<double>(__builtin_sinl(angle));
    const double c = static_cast<double>(__builtin_cosl(angle));
    const int q = static_cast<int>(quarter) & 3;
    *sine = q == 0 ? s : q == 1 ? c : q == 2 ? -s : -c;
    *cosine = q == 0 ? c : q == 1 ? -s : q == 2 ? -c : s;
}
inline void sincospif(float x, float* sine, float* cosine) {
    double s, c;
    sincospi(static_cast<double>(x), &s, &c);
    *sine = static_cast<float>(s);
    *cosine = static_cast<float>(c);
}

namespace cuda_on_cpu {

// Names of the types that a kernel's parameters may have; a kernel with others does not compile.
template <typename T>
struct Name;
#define NAMED(type)                                                    \
    template <>                                                        \
    struct Name<type> {                                                \
        static constexpr const char* text = #type;                     \
    };                                                                 \
    template <>                                                        \
    struct Name<type*> {                                               \
        static constexpr const char* text = #type "*";                 \
    };                                                                 \
    template <>                                                        \
    struct Name<const type*> {                                         \
        static constexpr const char* text = "const " #type "*";        \
    };
NAMED(float)
NAMED(double)
NAMED(int)
NAMED(unsigned int)
NAMED(long long)
NAMED(unsigned long long)
NAMED(unsigned char)
#undef NAMED

// The names of the parameters' types in order, then a null pointer.
template <typename... P>
const char* const* parameters(void (*)(P...)) {
    static const char* const names[] = {Name<P>::text..., nullptr};
    return names;
}

template <typename... P, std::size_t... I>
void run(void (*kernel)(P...), void* const* arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(arguments[I])...);
}

// As for cuLaunchKernel, `arguments` points to the value of each argument.
template <typename... P>
void launch(void (*kernel)(P...), const unsigned int* grid, const unsigned int* block,
            void* const* arguments) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
                for (threadIdx.z = 0; threadIdx.z < blockDim.z; ++threadIdx.z)
                    for (threadIdx.y = 0; threadIdx.y < blockDim.y; ++threadIdx.y)
                        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
                            run(kernel, arguments, std::index_sequence_for<P...>());
}

}  // namespace cuda_on_cpu

#endif
