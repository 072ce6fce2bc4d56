// What every kernel file shares: the generator, and the address of a draw.
//
// The generator is Philox4x64-10 of Salmon et al. (2011). The counter's four words are
// [tile * 2^32 + slot * width + j, step, purpose, lane], where j counts from 1;
// mcmargin/draws/random_stream.py has the table of purposes and widths. The sources include no
// header, and they use neither shared memory nor barriers, so that a processor can run them as
// plain loops.

typedef unsigned long long u64;
typedef long long i64;

const int TILE_PATHS = 2048;
const int HALF_TILE = 1024;
const int TABLE_INTERVALS = 4096;

struct Words {
    u64 w[4];
};

__device__ inline Words philox(u64 low, u64 step, u64 purpose, u64 lane, u64 key0, u64 key1) {
    u64 c0 = low, c1 = step, c2 = purpose, c3 = lane;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 a = 0xD2E7470EE14C6C93ULL, b = 0xCA5A826395121157ULL;
        u64 high0 = __umul64hi(a, c0), low0 = a * c0;
        u64 high1 = __umul64hi(b, c2), low1 = b * c2;
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += 0x9E3779B97F4A7C15ULL;
        key1 += 0xBB67AE8584CAA73BULL;
    }
    Words words = {{c0, c1, c2, c3}};
    return words;
}

// (word >> 11) / 2^53 in [0, 1), and half a step more, in (0, 1); both are exact in float64.
__device__ inline double unit(u64 word) { return double(word >> 11) * 0x1p-53; }
__device__ inline double middle(u64 word) { return unit(word) + 0x1p-54; }
