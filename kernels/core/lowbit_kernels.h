// What lowbit.cpp calls for parts of a row: a table of functions per instruction set. A part begins at a group's first
// value and ends at a group's last or at the row's, so it begins a byte of `codes`. Included by isa/: no code in here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/lowbit.h"

namespace wutdet {

// Random bits of stochastic rounding: those of the elements `first`, `first` + 1, ...
struct Noise {
  std::uint64_t seed, first;
};

// One quantised tensor's arithmetic (arXiv 2509.25149, appendix B), in float32.
struct NVFP4Steps {
  bool torchao;
  float to_code;      // Transformer Engine: a peak times this is the scale before rounding
  float tensor_scale; // torchao: a peak / 6 / this is
  float factor[128];  // by scale code: what elements are multiplied by
  bool finite;        // all factors are
};

struct IntegerStep {
  float scale;
  int zero, low, high, bits;
};

// Only the portable encoders know noise; the others are called where it is null. `stream`: the output is large and
// aligned to 16 bytes, so it may go past the caches.
struct LowbitKernels {
  void (*encode_hif4)(const float* x, std::size_t count, HiF4Options options, const Noise* noise, std::uint8_t* codes,
                      std::uint8_t* scales);
  void (*decode_hif4)(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool stream,
                      float* out);
  void (*encode_mxfp4)(const float* x, std::size_t count, MXFP4Options options, const Noise* noise,
                       std::uint8_t* codes, std::uint8_t* scales);
  void (*decode_mxfp4)(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool stream,
                       float* out);
  // Largest magnitude of each group of 16, or 0 where a value is not finite.
  void (*peaks_nvfp4)(const float* x, std::size_t count, float* peaks);
  // `peaks`: of the tiles, or null for each group's own.
  void (*encode_nvfp4)(const float* x, std::size_t count, const NVFP4Steps& steps, const float* peaks,
                       const Noise* noise, std::uint8_t* codes, std::uint8_t* scales);
  void (*decode_nvfp4)(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, float tensor_scale,
                       bool torchao, bool stream, float* out);
  void (*encode_hif8)(const float* x, std::size_t count, const Noise* noise, std::uint8_t* codes);
  void (*decode_hif8)(const std::uint8_t* codes, std::size_t count, bool stream, float* out);
  // Widens [*low, *high] to hold the values.
  void (*integer_range)(const float* x, std::size_t count, float* low, float* high);
  void (*encode_integer)(const float* x, std::size_t count, const IntegerStep& step, const Noise* noise,
                         std::uint8_t* codes);
  void (*decode_integer)(const std::uint8_t* codes, std::size_t count, const IntegerStep& step, bool stream,
                         float* out);
};

const LowbitKernels& portable_lowbit_kernels();
// Only where WUTDET_LOWBIT_AVX2 is defined, and to be called only on a processor with AVX2 and FMA.
const LowbitKernels& avx2_lowbit_kernels();

// The values behind the codes, see wutdet/lowbit/codebooks.py.
struct LowbitTables {
  float e2m1[16];
  float e4m3[256];
  float hif8[256];
  double hif8_rising[127];             // finite magnitudes
  std::uint8_t hif8_rising_code[127];
  std::uint8_t hif8_nearest[8192];     // code by the upper 13 bits of a float, which decide it unless it is NaN
};
const LowbitTables& lowbit_tables();

// The portable parts of the table, one file per format.
namespace portable {

void encode_hif4(const float* x, std::size_t count, HiF4Options options, const Noise* noise, std::uint8_t* codes,
                 std::uint8_t* scales);
void decode_hif4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool stream, float* out);
void encode_mxfp4(const float* x, std::size_t count, MXFP4Options options, const Noise* noise, std::uint8_t* codes,
                  std::uint8_t* scales);
void decode_mxfp4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, bool stream, float* out);
void peaks_nvfp4(const float* x, std::size_t count, float* peaks);
void encode_nvfp4(const float* x, std::size_t count, const NVFP4Steps& steps, const float* peaks, const Noise* noise,
                  std::uint8_t* codes, std::uint8_t* scales);
void decode_nvfp4(const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count, float tensor_scale,
                  bool torchao, bool stream, float* out);
void encode_hif8(const float* x, std::size_t count, const Noise* noise, std::uint8_t* codes);
void decode_hif8(const std::uint8_t* codes, std::size_t count, bool stream, float* out);
void integer_range(const float* x, std::size_t count, float* low, float* high);
void encode_integer(const float* x, std::size_t count, const IntegerStep& step, const Noise* noise,
                    std::uint8_t* codes);
void decode_integer(const std::uint8_t* codes, std::size_t count, const IntegerStep& step, bool stream, float* out);

}  // namespace portable

NVFP4Steps nvfp4_steps(NVFP4Options options, float whole, float* tensor_scale);

}  // namespace wutdet
