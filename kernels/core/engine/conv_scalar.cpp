// The kernels for any processor: slow and obvious.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/engine/conv.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/silu.h"

namespace wutdet::engine {
namespace {

constexpr int kLanes = 16;

// Lane that holds a channel of a block, see conv_kernels.h.
int slot(const ConvRow& row, int channel, bool interleaved) {
  if (!interleaved) return channel;
  const int four = channel / 4;
  return four % row.vectors * kLanes + four / row.vectors * 4 + channel % 4;
}

float silu(float x) {
  float c = x > kSiluLow ? x : kSiluLow;
  c = c < kSiluHigh ? c : kSiluHigh;
  const float shifted = std::fma(c, kSiluMinusLog2E, kSiluRound);
  const float f = std::fma(c, kSiluMinusLog2E, -(shifted - kSiluRound));
  float e = kSiluPowers[5];
  for (int i = 4; i >= 0; --i) e = std::fma(e, f, kSiluPowers[i]);
  std::uint32_t bits, steps;
  std::memcpy(&bits, &e, 4);
  std::memcpy(&steps, &shifted, 4);
  bits += steps << 23;  // the low bits of `shifted` are n
  std::memcpy(&e, &bits, 4);
  return x / (1.0f + e);
}

float silu_for_bytes(float x) {
  const float c = x > kSiluByteLow ? x : kSiluByteLow;
  const float u = (c < kSiluByteHigh ? c : kSiluByteHigh) + kSiluByteShift;
  const float n = (u + kSiluRound) - kSiluRound, d = u - n;
  const int i = static_cast<int>(n);
  float y = kSigmoidCubics[3][i];
  for (int k = 2; k >= 0; --k) y = std::fma(y, d, kSigmoidCubics[k][i]);
  return c * y;
}

std::uint8_t saturate(float y) {
  y = y > 0.0f ? y : 0.0f;
  y = y < 255.0f ? y : 255.0f;
  return static_cast<std::uint8_t>(std::nearbyint(y));
}

// Everything after the sums of one output value.
void finish(const ConvRow& row, float y, int lane, std::uint8_t* out, const std::uint8_t* residual) {
  if (row.silu) y = row.to_u8 ? silu_for_bytes(y) : silu(y);
  if (!row.to_u8) {
    if (residual != nullptr) {
      float other;
      std::memcpy(&other, residual, 4);
      y += other;
    }
    std::memcpy(out, &y, 4);
    return;
  }
  if (row.quantise) y = std::fma(y, row.inverse[lane], row.zero);
  std::uint8_t q = saturate(y);
  if (row.table != nullptr) q = row.table[q];
  if (residual != nullptr)
    q = saturate(std::fma(row.mix_own, static_cast<float>(q),
                          std::fma(row.mix_residual, static_cast<float>(*residual), row.mix_offset)));
  *out = q;
}

template <typename Sum>
void for_outputs(const ConvRow& row, bool interleaved, const Sum& sum) {
  const std::ptrdiff_t size = row.to_u8 ? 1 : 4;
  for (int x = 0; x < row.pixels; ++x) {
    for (int c = 0; c < row.channels; ++c) {
      const int lane = slot(row, c, interleaved);
      const float y = sum(row.in + x * row.in_step, lane, c);
      finish(row, y, lane, row.out + x * row.out_step + c * size,
             row.residual != nullptr ? row.residual + x * row.residual_step + c * size : nullptr);
    }
  }
}

int dot4(const std::uint8_t* x, const std::int8_t* w) {
  return x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];
}

void int8(const ConvRow& row) {
  const auto* weights = reinterpret_cast<const std::int8_t*>(row.weights);
  const int lanes = row.vectors * kLanes;
  const auto sum_of = [&](const std::uint8_t* in, int lane) {
    std::int32_t sum = row.initial[lane];
    const std::int8_t* w = weights + 4 * lane;
    for (int i = 0; i < row.run_count; ++i)
      for (int q = 0; q < row.runs[i].steps; ++q, w += 4 * lanes) sum += dot4(in + row.runs[i].offset + 4 * q, w);
    return sum;
  };
  if (row.sums_only) {
    for (int x = 0; x < row.pixels; ++x) {
      auto* out = reinterpret_cast<std::int32_t*>(row.out + x * row.out_step);
      for (int lane = 0; lane < lanes; ++lane) out[lane] = sum_of(row.in + x * row.in_step, lane);
    }
    return;
  }
  for_outputs(row, row.to_u8, [&](const std::uint8_t* in, int lane, int) {
    std::int32_t sum = sum_of(in, lane);
    if (row.starts != nullptr) sum += row.starts[(in - row.in) / row.in_step / 2 * row.starts_step + lane];
    return std::fma(static_cast<float>(sum), row.scale[lane], row.bias[lane]);
  });
}

void grouped(const ConvRow& row) {
  const auto* weights = reinterpret_cast<const std::int8_t*>(row.weights);
  const int lanes = row.vectors * kLanes;
  for_outputs(row, row.to_u8, [&](const std::uint8_t* in, int lane, int) {
    float y = 0.0f;
    const std::int32_t* start = row.group_initial + lane;
    const float* scale = row.group_scale + lane;
    std::int32_t sum = *start;
    const std::int8_t* w = weights + 4 * lane;
    for (int i = 0; i < row.run_count; ++i) {
      for (int q = 0; q < row.runs[i].steps; ++q, w += 4 * lanes) sum += dot4(in + row.runs[i].offset + 4 * q, w);
      if (!row.runs[i].ends_group) continue;
      y = std::fma(static_cast<float>(sum), *scale, y);
      scale += lanes;
      start += lanes;
      if (i + 1 < row.run_count) sum = *start;
    }
    return std::fma(y, row.scale[lane], row.bias[lane]);
  });
}

void real(const ConvRow& row) {
  const auto* weights = reinterpret_cast<const float*>(row.weights);
  const int lanes = row.vectors * kLanes;
  for_outputs(row, row.to_u8, [&](const std::uint8_t* in, int lane, int) {
    float y = row.bias[lane];
    const float* w = weights + lane;
    for (int i = 0; i < row.run_count; ++i) {
      const auto* x = reinterpret_cast<const float*>(in + row.runs[i].offset);
      for (int k = 0; k < row.runs[i].steps; ++k, w += lanes) y = std::fma(x[k], *w, y);
    }
    return y;
  });
}

void depthwise_int8(const ConvRow& row) {
  const auto* weights = reinterpret_cast<const std::int8_t*>(row.weights);
  const int lanes = row.vectors * kLanes;
  for_outputs(row, true, [&](const std::uint8_t* in, int lane, int channel) {
    std::int32_t sum = row.initial[lane];
    for (int i = 0; i < row.run_count; ++i)
      sum += in[row.runs[i].offset + channel] * weights[(i / 4 * lanes + lane) * 4 + i % 4];
    return std::fma(static_cast<float>(sum), row.scale[lane], row.bias[lane]);
  });
}

void depthwise_real(const ConvRow& row) {
  const auto* weights = reinterpret_cast<const float*>(row.weights);
  const int lanes = row.vectors * kLanes;
  for_outputs(row, false, [&](const std::uint8_t* in, int lane, int channel) {
    float y = row.bias[lane];
    for (int i = 0; i < row.run_count; ++i)
      y = std::fma(reinterpret_cast<const float*>(in + row.runs[i].offset)[channel], weights[i * lanes + lane], y);
    return y;
  });
}

void widen(const std::uint8_t* in, std::size_t count, int zero, float scale, float* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(in[i] - zero) * scale;
}

constexpr ConvKernels kKernels{"scalar", kLanes, 1,    1, 1, false, false, int8, grouped,
                               real,     depthwise_int8, depthwise_real, widen};

}  // namespace

const ConvKernels& conv_scalar() { return kKernels; }

}  // namespace wutdet::engine
