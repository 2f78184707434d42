// Frames of Python as the engine takes them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "bindings.h"
#include "core/engine/letterbox.h"

namespace wutdet {

using Pixels = nb::ndarray<const std::uint8_t, nb::shape<-1, -1, 3>, nb::device::cpu>;
using Side = std::pair<int, int>;  // width, height

// No larger than int: the largest side that fit_of takes is far below, and what is beyond stays beyond.
inline Side size_wh(const Pixels& frame) {
  const auto side = [](std::size_t size) {
    return static_cast<int>(std::min<std::size_t>(size, engine::FramePlan::kLargestSide + 1));
  };
  return {side(frame.shape(1)), side(frame.shape(0))};
}

inline engine::FrameFit fit_of(Side frame_wh, Side input_wh, Side scaled_wh, Side pad_lt, int pad_value) {
  if (pad_value < 0 || pad_value > 255) throw nb::value_error("pad_value must be in 0..255");
  if (std::max(frame_wh.first, frame_wh.second) > engine::FramePlan::kLargestSide)
    throw nb::value_error("a side of the frame is too long");
  engine::FrameFit fit;
  fit.frame_width = frame_wh.first;
  fit.frame_height = frame_wh.second;
  fit.input_width = input_wh.first;
  fit.input_height = input_wh.second;
  fit.scaled_width = scaled_wh.first;
  fit.scaled_height = scaled_wh.second;
  fit.left = pad_lt.first;
  fit.top = pad_lt.second;
  fit.pad_value = static_cast<std::uint8_t>(pad_value);
  return fit;
}

inline engine::Frame pixels_of(const Pixels& frame) {
  if (frame.stride(2) != 1 || (frame.stride(1) != 3 && frame.shape(1) != 1))
    throw nb::value_error("pixels of a row must lie side by side");
  return {frame.data(), static_cast<std::ptrdiff_t>(frame.stride(0))};
}

}  // namespace wutdet
