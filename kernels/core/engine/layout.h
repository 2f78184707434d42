// Where the tensors of a plan lie: one block of memory, whose parts are used again as soon as nothing needs them.
#pragma once

#include <cstddef>
#include <vector>

#include "core/engine/plan.h"

namespace wutdet::engine {

struct Buffer {
  std::size_t offset = 0, bytes = 0;  // in the block; of 0 bytes where the item has no memory of its own
  int first_step = -1, last_step = -1;  // that write or read it
  std::ptrdiff_t row_stride = 0, pixel_stride = 0, origin = 0;  // of images: bytes to pixel (0, 0) behind the border
};

struct Layout {
  std::vector<Buffer> buffers;  // by item; slices have none
  std::size_t bytes = 0;
};

// Items `elsewhere` get no memory, nor do inputs and constants. Also sets the borders of the plan's images, which depend on the convolutions that look at them. Throws ModelFault
// where the block would be larger than the limit.
Layout lay_out(Plan& plan, const std::vector<int>& elsewhere, const Limits& limits);

}  // namespace wutdet::engine
