// The variance recursion and the compounding return of one asset and path over all steps of a
// block, state in registers.
//
// Grid: x paths, y assets. Linear kinds: h' = omega + (alpha + gamma 1{e < 0}) e^2 + beta h.
// EGARCH: ln h' = omega + alpha (|z| - sqrt(2/pi)) + gamma z + beta ln h, with ln h held within
// its bounds. A branch on an asset's kind is uniform in a thread block.

// One asset's constants. mcmargin/engines/cupy_steps.py reads the names here, and lays out
// `coefficients` [assets, members] in their order.
template <typename T>
struct Asset {
    T omega, alpha, gamma, beta, start, lowest, highest, scale, diagonal;
};

// One asset's marginal table: g at the nodes, then ln(g / g at the edge) at the knots of the lower
// tail and of the upper tail. The knots lie at equal distances in ln(|x| / edge).
const int TAIL_INTERVALS = 32;
const int KNOTS_A_UNIT = 4;
const int TABLE_WIDTH = TABLE_INTERVALS + 1 + 2 * (TAIL_INTERVALS + 1);

// Steps whose draws are loaded together: with one load at a time, the memory would be idle.
const int AHEAD = 4;

// Bits of `kinds`.
const int EGARCH = 1;
const int TABLED = 2;

// Marginal transform g. Within the table it is a straight line in x between two nodes; beyond the
// edges, ln g is a straight line in ln x between two knots.
template <typename T>
__device__ inline T transform(T x, const T* __restrict__ table, T edge) {
    const T held = fmin(fmax(x, -edge), edge);
    const T step = 2 * edge / T(TABLE_INTERVALS), nodes_a_unit = T(TABLE_INTERVALS) / (2 * edge);
    const int node = min(int((held + edge) * nodes_a_unit), TABLE_INTERVALS - 1);
    const T left = table[node];
    // held less its node is exact; the distance from the edge to held would be rounded.
    const T share = (held - (T(node) * step - edge)) * nodes_a_unit;
    T g = left + share * (table[node + 1] - left);
    if (fabs(x) > edge) {
        const T position = log(fabs(x) / edge) * KNOTS_A_UNIT;
        const int knot = min(int(position), TAIL_INTERVALS - 1);
        const T* tail = table + TABLE_INTERVALS + 1 + (x < 0 ? 0 : TAIL_INTERVALS + 1) + knot;
        g *= exp(tail[0] + (position - T(knot)) * (tail[1] - tail[0]));
    }
    return g;
}

template <typename T>
__device__ inline T next_variance_of(T h, T z, T eps, bool egarch, const Asset<T>& asset) {
    if (egarch) {
        const T log_h = asset.beta * log(h) + asset.alpha * (fabs(z) - T(0.7978845608028654)) +
                        asset.gamma * z + asset.omega;
        return fmax(exp(log_h), asset.lowest);
    }
    const T slope = eps < 0 ? asset.alpha + asset.gamma : asset.alpha;
    return asset.beta * h + slope * eps * eps + asset.omega;
}

// SOURCE 0: z is made of shocks [assets, steps, paths], the product with the dependence factor. If
// own [assets, steps, paths] is given, diagonal * own is added; if mixing [steps, paths] is given,
// the sum is multiplied by it; then it goes through the asset's table, or is multiplied by its
// scale. SOURCE 1: z is read from shocks [assets, dates_count], at the date that dates
// [steps, paths] gives.
//
// returns and next_variance are [horizons, assets, all_paths]; the block begins at first_path.
// horizon_of_step says which horizon ends with a step, or -1. first is 0 if earlier steps of the
// block have left their totals and variances in total_state and variance_state [assets, paths].
template <typename T, int SOURCE>
__global__ void evolve(const T* __restrict__ shocks, const T* __restrict__ own,
                       const T* __restrict__ mixing, const int* __restrict__ dates,
                       i64 dates_count, const T* __restrict__ coefficients,
                       const int* __restrict__ kinds, const T* __restrict__ tables, T edge,
                       T floor, const int* __restrict__ horizon_of_step, int steps, i64 paths,
                       int first, T* total_state, T* variance_state, T* returns,
                       T* next_variance, i64 assets, i64 all_paths, i64 first_path,
                       unsigned char* floored, unsigned char* capped, int* counts,
                       unsigned char* before) {
    const i64 path = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    const i64 at = blockIdx.y;
    // Tiles are drawn whole, but paths beyond the plan are not kept.
    if (path >= paths || first_path + path >= all_paths) return;
    const Asset<T> asset = reinterpret_cast<const Asset<T>*>(coefficients)[at];
    const bool egarch = kinds[at] & EGARCH, tabled = kinds[at] & TABLED;
    const T* table = tables + at * TABLE_WIDTH;
    const i64 state = at * paths + path;
    T total = first ? T(0) : total_state[state];
    T h = first ? asset.start : variance_state[state];
    bool hit_floor = false, hit_cap = false;
    const i64 row = at * (SOURCE == 1 ? dates_count : steps * paths);
    const T* mine = shocks + row;
    // The place of a draw in one asset's [steps, paths]; the engine keeps it below 2^31.
    int here = int(path);
    for (int done = 0; done < steps; done += AHEAD) {
        T drawn[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            if (SOURCE == 1) {
                drawn[i] = mine[dates[here]];
            } else {
                drawn[i] = mine[here];
                if (own) drawn[i] += asset.diagonal * own[row + here];
                if (mixing) drawn[i] *= mixing[here];
            }
            // After the last step, the same draw is loaded again and is not used.
            if (done + i < steps - 1) here += int(paths);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            const int step = done + i;
            if (step == steps) break;
            T z = drawn[i];
            if (SOURCE == 0) z = tabled ? transform(z, table, edge) : z * asset.scale;
            const T eps = sqrt(h) * z;
            total += total * eps + eps;
            if (total < floor) {
                hit_floor = true;
                total = floor;
            }
            h = next_variance_of(h, z, eps, egarch, asset);
            if (h > asset.highest) {
                hit_cap = true;
                h = asset.highest;
            }
            const int horizon = horizon_of_step[step];
            if (horizon >= 0) {
                const i64 kept = (horizon * assets + at) * all_paths + first_path + path;
                returns[kept] = total;
                next_variance[kept] = h;
            }
        }
    }
    total_state[state] = total;
    variance_state[state] = h;
    // Several assets may write here, and all write the same.
    if (hit_floor) floored[path] = 1;
    if (hit_cap) capped[path] = 1;
    // Few paths reach a limit. `before` says which of them an earlier launch has counted.
    if (hit_floor || hit_cap) {
        const int known = before ? before[state] : 0;
        if (hit_floor && !(known & 1)) atomicAdd(&counts[at], 1);
        if (hit_cap && !(known & 2)) atomicAdd(&counts[assets + at], 1);
        if (before) before[state] = known | (hit_floor ? 1 : 0) | (hit_cap ? 2 : 0);
    }
}
