// Weights in low-bit formats: calls of the functions of domain wutdet.lowbit (docs/artefacts.md).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/engine/operators.h"

namespace wutdet::engine {

// The parts of one call, checked: sizes fit each other, scales are none that is reserved.
struct PackedWeight {
  enum class Format : std::uint8_t { HiF4, MXFP4, NVFP4, NVFP4TorchAO, HiF8, Int4, Int8 };
  Format format;
  std::size_t outputs, height, width, inputs;  // O, H, W, I
  std::size_t columns;                         // H * W * I, in this order, per output channel
  std::size_t group;                           // columns that share a scale; may be longer than the row; 0 for HiF8
  std::size_t groups;                          // per row
  std::size_t scale_rows;                      // 1 or O
  Tensor codes;                                // uint8 [O, bytes]
  Tensor scales;                               // uint8 [O, groups, B], integers: float32 [scale_rows, groups]
  Tensor zero_points;                          // uint8 [scale_rows, groups]; no bytes where there are none
  Tensor channel_scale;                        // float32 [O]
  float tensor_scale = 1;

  Dims dims() const {
    return {static_cast<std::int64_t>(outputs), static_cast<std::int64_t>(inputs), static_cast<std::int64_t>(height),
            static_cast<std::int64_t>(width)};
  }
};

// Reads a call. Throws ModelFault: an unknown function, or parts that do not fit.
PackedWeight read_packed_weight(const Operands& of);

// Decoded values, float32 [O, H * W * I], before the product with the channel's scale.
void decode_rows(const PackedWeight& weight, float* out);

}  // namespace wutdet::engine
