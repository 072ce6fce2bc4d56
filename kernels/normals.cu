// Standard normals of all slots, steps and tiles of a block, made of words by Box-Muller.
//
// Out: [slots, steps, tiles * 2048]. Grid: x tiles, y steps, z slots. Each of 256 threads makes
// four pairs of normals: the cosines go to four paths, the sines to the four paths 1,024 further on.
// Accuracy: logf is the full function of the CUDA library (1 unit in the last place), the square
// root is rounded correctly, and no fast intrinsic is used. The sine and cosine of the angle 2 pi v
// are taken as sincospi(2 v), which needs no reduction of its range. The numpy engine rounds the
// angle itself to float32, which moves it by up to 4.1e-7; so the normals of the two engines differ
// by up to 2.8e-6 at the largest radius, 6.7.

// Sine and cosine of pi times the turn.
__device__ inline void sine_cosine(float turn, float* sine, float* cosine) {
    sincospif(turn, sine, cosine);
}
__device__ inline void sine_cosine(double turn, double* sine, double* cosine) {
    sincospi(turn, sine, cosine);
}

__device__ inline void store(float* at, const float* four) {
    *reinterpret_cast<float4*>(at) = make_float4(four[0], four[1], four[2], four[3]);
}
__device__ inline void store(double* at, const double* four) {
    reinterpret_cast<double2*>(at)[0] = make_double2(four[0], four[1]);
    reinterpret_cast<double2*>(at)[1] = make_double2(four[2], four[3]);
}

// The u (radius) and v (angle) of four pairs: float32 takes both from the halves of one word,
// float64 takes each from a word of its own.
__device__ inline void pairs(u64 row, u64 quad, u64 step, u64 purpose, u64 lane, u64 key0,
                             u64 key1, float* u, float* v, u64 slot) {
    Words words = philox(row + slot * 256 + quad + 1, step, purpose, lane, key0, key1);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        u[i] = (float((unsigned int)(words.w[i])) + 0.5f) * 0x1p-32f;
        v[i] = float((unsigned int)(words.w[i] >> 32)) * 0x1p-32f;
    }
}
__device__ inline void pairs(u64 row, u64 quad, u64 step, u64 purpose, u64 lane, u64 key0,
                             u64 key1, double* u, double* v, u64 slot) {
    Words first = philox(row + slot * 512 + quad + 1, step, purpose, lane, key0, key1);
    Words second = philox(row + slot * 512 + 256 + quad + 1, step, purpose, lane, key0, key1);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        u[i] = middle(first.w[i]);
        v[i] = unit(second.w[i]);
    }
}

template <typename T>
__global__ void normals(T* out, u64 key0, u64 key1, int purpose, u64 lane, i64 first_tile,
                        int tiles, int first_step, int steps) {
    const int tile = blockIdx.x, step = blockIdx.y, quad = threadIdx.x;
    const i64 slot = blockIdx.z, row = (slot * steps + step) * tiles + tile;
    T u[4], v[4], cosines[4], sines[4];
    pairs(u64(first_tile + tile) << 32, quad, first_step + step, purpose, lane, key0, key1, u, v,
          slot);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const T radius = sqrt(T(-2) * log(u[i]));
        sine_cosine(2 * v[i], &sines[i], &cosines[i]);
        cosines[i] *= radius;
        sines[i] *= radius;
    }
    T* at = out + row * TILE_PATHS + 4 * quad;
    store(at, cosines);
    store(at + HALF_TILE, sines);
}
