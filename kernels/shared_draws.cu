// Draws that take one word for each path and step: mixing variables, historical dates, and jumps.
//
// Out: [steps, tiles * 2048]. A thread block makes one step of one tile; each of its 512 threads
// makes four paths.

// The step and tile of a thread block, and where its thread writes first.
struct Row {
    int step;
    i64 tile;
    i64 first;
};

__device__ inline Row row_of(i64 first_tile, int tiles, int first_step) {
    const i64 row = blockIdx.x;
    Row place = {int(row / tiles) + first_step, first_tile + row % tiles,
                 row * TILE_PATHS + 4 * threadIdx.x};
    return place;
}

// sqrt(nu / chi-square) of the t copula: a table gives ln chi-square at the logit of a uniform. All
// of it is in float64.
template <typename T>
__global__ void mixing(T* out, const double* table, double nu, double table_edge, u64 key0,
                       u64 key1, int purpose, i64 first_tile, int tiles, int first_step) {
    const Row row = row_of(first_tile, tiles, first_step);
    const Words words =
        philox((u64(row.tile) << 32) + threadIdx.x + 1, row.step, purpose, 0, key0, key1);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const double u = fmin(middle(words.w[i]), 1.0 - 0x1p-53);
        const double logit = log(u) - log1p(-u);
        const double position = (logit + table_edge) * (TABLE_INTERVALS / (2 * table_edge));
        const int node = min(max(int(position), 0), TABLE_INTERVALS - 1);
        const double log_chi_square =
            table[node] + (position - node) * (table[node + 1] - table[node]);
        out[row.first + i] = T(sqrt(nu * exp(-log_chi_square)));
    }
}

// The date drawn: floor(word * count / 2^64), exactly.
__global__ void dates(int* out, u64 count, u64 key0, u64 key1, int purpose, i64 first_tile,
                      int tiles, int first_step) {
    const Row row = row_of(first_tile, tiles, first_step);
    const Words words =
        philox((u64(row.tile) << 32) + threadIdx.x + 1, row.step, purpose, 0, key0, key1);
#pragma unroll
    for (int i = 0; i < 4; ++i) out[row.first + i] = int(__umul64hi(words.w[i], count));
}

// Whether a jump happens: word < bound, with bound = floor(probability * 2^64).
__global__ void jumps(unsigned char* out, u64 bound, u64 key0, u64 key1, int purpose, u64 lane,
                      i64 first_tile, int tiles, int first_step) {
    const Row row = row_of(first_tile, tiles, first_step);
    const Words words =
        philox((u64(row.tile) << 32) + threadIdx.x + 1, row.step, purpose, lane, key0, key1);
#pragma unroll
    for (int i = 0; i < 4; ++i) out[row.first + i] = words.w[i] < bound;
}
