// What letterbox.cpp calls for one row: a table of functions per instruction set. Included by isa/: no code in here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wutdet::engine {

// Columns that a kernel may do at once; rows of pairs have room for a whole number of twice as many.
constexpr int kLetterboxGroup = 8;

// One row of the frame, scaled along the row.
struct PairRow {
  const std::uint8_t* row;  // B, G, R
  int row_bytes;
  int columns;
  const std::int32_t* offsets;  // of the left pixel; never falling; the right one is the next, or has no weight
  const std::int16_t* weights;  // of the left and the right pixel, per column
  // The same as 64 * high + low, eight bytes per column: left and right for R, for G, for B, and two zeros, so that
  // products and their sums are within int16.
  const std::uint8_t *high, *low;
  // Per group, 64 bytes: from the group's first offset to what is multiplied by the 64 weights of the group. Only if
  // `reach` is at most 128: the largest distance from a group's first offset to behind its last pair.
  const std::uint8_t* places;
  int reach;
  std::int16_t* out;  // R, G, B, 0 per column: (left * weight + right * weight) >> 4
};

// Two of these rows become pixels.
struct BlendRow {
  const std::int16_t *above, *below;
  int weight_above, weight_below;
  int columns;
};

struct LetterboxKernels {
  const char* name;
  void (*pairs)(const PairRow& row);
  // To bytes: R, G, B with a step of 3, or R, G, B, 0 with a step of 4.
  void (*bytes)(const BlendRow& row, std::uint8_t* out, int step);
  // To three planes of floats, byte / 255.
  void (*planes)(const BlendRow& row, float* red, float* green, float* blue);
};

}  // namespace wutdet::engine
