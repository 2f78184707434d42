// Encoders and decoders of the low-bit number formats: packed codes and scales as docs/formats.md lays them out.
// Every function equals its NumPy definition in wutdet/lowbit/oracle/ bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet {

struct HiF4Options {
  bool ties_even;  // elements half way between two codes: to the even code, else away from zero
  bool saturate;   // infinities count as values beyond the largest, else they make their group NaN
};

struct MXFP4Options {
  bool ceil;  // the smallest power of two that clips nothing, else the floor rule
  bool ties_away;
};

struct NVFP4Options {
  bool two_level;    // a tensor scale brings the peak to 2688
  bool torchao;      // torchao's order of operations, else Transformer Engine's
  bool square_tile;  // 16 rows share their scales
};

struct IntegerOptions {
  int bits;  // 8 or 4
  bool symmetric;
  std::size_t group_size;  // even; 0 where whole rows share a scale
  std::size_t scale_rows;  // rows of `scales`: all rows for groups, channels, or 1
};

// How a matrix is worked on.
struct LowbitRun {
  std::size_t rows, columns;
  bool portable;        // without instructions beyond the baseline
  std::size_t threads;  // at most; 0 means all of the machine
  bool stochastic;      // encoders: by Philox words of `seed` and the element's index
  std::uint64_t seed;
};

// True where the processor has the instructions of the fast path and the build has the path.
bool lowbit_has_fast_path();

// x is float [rows, columns]. `codes` has ceil(columns / 2) bytes per row (hif8 and 8-bit integers: columns bytes),
// `scales` as many groups per row as there are begun.
void encode_hif4(const float* x, const LowbitRun& run, HiF4Options options, std::uint8_t* codes, std::uint8_t* scales);
void encode_mxfp4(const float* x, const LowbitRun& run, MXFP4Options options, std::uint8_t* codes,
                  std::uint8_t* scales);
// Returns the tensor scale, 1 where there is none.
float encode_nvfp4(const float* x, const LowbitRun& run, NVFP4Options options, std::uint8_t* codes,
                   std::uint8_t* scales);
void encode_hif8(const float* x, const LowbitRun& run, std::uint8_t* codes);
// Values must be finite. `scales` is [scale_rows, groups, 4], or 5 with a zero point.
void encode_integer(const float* x, const LowbitRun& run, const IntegerOptions& options, std::uint8_t* codes,
                    std::uint8_t* scales);

void decode_hif4(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run, float* out);
void decode_mxfp4(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run, float* out);
void decode_nvfp4(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run, float tensor_scale,
                  bool torchao, float* out);
void decode_hif8(const std::uint8_t* codes, const LowbitRun& run, float* out);
void decode_integer(const std::uint8_t* codes, const std::uint8_t* scales, const LowbitRun& run,
                    const IntegerOptions& options, float* out);

}  // namespace wutdet
