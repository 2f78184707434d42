// From a camera frame to a network's input in one pass: bilinear scaling, padding, BGR to RGB, and bytes or floats in
// 0..1 as wanted.
//
// The bytes are those of wutdet/boxes.py's Letterbox.apply, so of OpenCV's cv2.resize (INTER_LINEAR, 8 bits): weights
// are multiples of 1/2048; of a pair of pixels (left * a0 + right * a1) >> 4 is kept, of a pair of such rows
// (((above * b0) >> 16) + ((below * b1) >> 16) + 2) >> 2. Exactly half the size is the mean of four, half up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/engine/conv.h"

namespace wutdet::engine {

struct LetterboxKernels;

// How a frame lies in the input, in pixels. The frame is scaled to `scaled`, which lies at (left, top) of `input`.
struct FrameFit {
  int frame_width = 0, frame_height = 0, scaled_width = 0, scaled_height = 0, input_width = 0, input_height = 0;
  int left = 0, top = 0;
  std::uint8_t pad_value = 0;

  bool operator==(const FrameFit& other) const;
};

// Channels are B, G, R; a pixel takes three bytes. Rows may lie in any distance, also backwards.
struct Frame {
  const std::uint8_t* data = nullptr;
  std::ptrdiff_t row_stride = 0;
};

// Tables for one fit; may be used by several threads at once.
class FramePlan {
 public:
  static constexpr int kLargestSide = 1 << 16;

  // Throws std::invalid_argument where a side is not in 1..kLargestSide or the scaled frame does not lie in the input.
  explicit FramePlan(const FrameFit& fit);

  const FrameFit& fit() const { return fit_; }

  // Rows [first, last) of the input as R, G, B or, with a pixel stride of 4, R, G, B, 0. `out.data` is pixel (0, 0) and
  // a row may take more than its pixels (a border that others fill). Nothing but the frame's own bytes is read.
  void to_bytes(const Frame& frame, const View& out, int first, int last, const LetterboxKernels& kernels) const;

  // Rows [first, last) of three dense planes: bytes / 255, rounded as division rounds. `out` is the whole input.
  void to_planes(const Frame& frame, float* out, int first, int last, const LetterboxKernels& kernels) const;

 private:
  struct Line {
    int above, below, weight_above, weight_below;
  };
  template <typename Blend, typename Pad>
  void for_rows(const Frame& frame, int first, int last, const LetterboxKernels& kernels, const Blend& blend,
                const Pad& pad) const;

  FrameFit fit_;
  std::vector<Line> lines_;  // by row of the scaled frame
  // By column of the scaled frame, repeated to whole groups of kLetterboxGroup.
  std::vector<std::int32_t> offsets_;  // bytes to the left pixel of the pair
  std::vector<std::int16_t> weights_;
  std::vector<std::uint8_t> high_, low_, places_;
  int reach_ = 0;
};

// Those that go with the kernels of convolutions.
const LetterboxKernels& letterbox_kernels(const ConvKernels& kernels);

}  // namespace wutdet::engine
