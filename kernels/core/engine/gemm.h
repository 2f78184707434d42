// The inner loops of the interpreter's products: plain C++, blocked so that what is read again is in the cache.
#pragma once

#include <algorithm>
#include <cstddef>

namespace wutdet::engine {

inline constexpr std::size_t kPanel = 8;         // columns that are worked on together
inline constexpr std::size_t kPanelsAtOnce = 8;  // and how many such panels for one pass over the rows
inline constexpr std::size_t kDepth = 512;       // of the sum, for one pass

// c[row, column] += sum over depth of a[row, depth] * panel[depth, column], for `rows` rows and kPanel columns.
template <std::size_t rows>
inline void add_products(const float* a, std::size_t a_stride, const float* panel, std::size_t depth, float* c,
                         std::size_t c_stride, std::size_t columns) {
  float sum[rows][kPanel];
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t j = 0; j < kPanel; ++j) sum[r][j] = j < columns ? c[r * c_stride + j] : 0.0f;
  for (std::size_t k = 0; k < depth; ++k)
    for (std::size_t r = 0; r < rows; ++r) {
      const float factor = a[r * a_stride + k];
      for (std::size_t j = 0; j < kPanel; ++j) sum[r][j] += factor * panel[k * kPanel + j];
    }
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t j = 0; j < columns; ++j) c[r * c_stride + j] = sum[r][j];
}

// c [rows, columns] += a [rows, depth] * b [depth, columns]. `pack(depth_begin, depth_end, column_begin, columns, to)`
// writes kPanel columns of b (fewer at the end: the rest is filled with zeros), one row of b after the other. The order
// of every sum is that of the depth. `scratch` holds kDepth * kPanel * kPanelsAtOnce floats.
template <typename Pack>
void multiply_add(const float* a, std::size_t rows, std::size_t depth, std::size_t columns, float* c, float* scratch,
                  Pack pack) {
  for (std::size_t column = 0; column < columns; column += kPanel * kPanelsAtOnce) {
    const std::size_t end = std::min(columns, column + kPanel * kPanelsAtOnce);
    for (std::size_t k = 0; k < depth; k += kDepth) {
      const std::size_t deep = std::min(kDepth, depth - k);
      for (std::size_t j = column; j < end; j += kPanel)
        pack(k, k + deep, j, std::min(kPanel, end - j), scratch + (j - column) * deep);
      for (std::size_t row = 0; row < rows;) {
        const std::size_t together = rows - row >= 4 ? 4 : 1;
        for (std::size_t j = column; j < end; j += kPanel) {
          const float* from = a + row * depth + k;
          const float* panel = scratch + (j - column) * deep;
          float* to = c + row * columns + j;
          if (together == 4) add_products<4>(from, depth, panel, deep, to, columns, std::min(kPanel, end - j));
          else add_products<1>(from, depth, panel, deep, to, columns, std::min(kPanel, end - j));
        }
        row += together;
      }
    }
  }
}

}  // namespace wutdet::engine
