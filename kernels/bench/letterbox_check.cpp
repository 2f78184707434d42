// Stand-alone check, for machines without Python (aarch64 under qemu): the letterbox of every instruction set against
// the scalar one, byte for byte, on random frames that end at pages that cannot be touched.
//   letterbox_check [cases] [first seed] [name of kernels]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench/check.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/dispatch.h"
#include "core/engine/letterbox.h"
#include "core/engine/letterbox_kernels.h"

using namespace wutdet::engine;
using namespace wutdet::check;

namespace {

FrameFit random_fit(Random& r) {
  FrameFit fit;
  fit.frame_width = r(1, 90);
  fit.frame_height = r(1, 40);
  switch (r(0, 4)) {
    case 0:  // half, where OpenCV takes means
      fit.frame_width *= 2;
      fit.frame_height *= 2;
      fit.scaled_width = fit.frame_width / 2;
      fit.scaled_height = fit.frame_height / 2;
      break;
    case 1:
      fit.scaled_width = fit.frame_width;
      fit.scaled_height = fit.frame_height;
      break;
    default:
      fit.scaled_width = r(1, 120);
      fit.scaled_height = r(1, 40);
  }
  fit.left = r(0, 1) * r(0, 9);
  fit.top = r(0, 1) * r(0, 9);
  fit.input_width = fit.left + fit.scaled_width + r(0, 9);
  fit.input_height = fit.top + fit.scaled_height + r(0, 9);
  fit.pad_value = static_cast<std::uint8_t>(r(0, 255));
  return fit;
}

// Pixels of three and of four bytes, and planes.
std::vector<std::uint8_t> results(const LetterboxKernels& kernels, unsigned seed) {
  Random r(seed);
  const FrameFit fit = random_fit(r);
  const int row_bytes = 3 * fit.frame_width, stride = row_bytes + r(0, 1) * r(0, 20);
  Guarded pixels(static_cast<std::size_t>(stride) * (fit.frame_height - 1) + row_bytes, seed % 2);
  const bool hard = r(0, 1);
  for (std::size_t i = 0; i < pixels.bytes(); ++i)
    pixels.data()[i] = static_cast<std::uint8_t>(hard ? 255 * r(0, 1) : r(0, 255));
  const Frame frame{pixels.data(), stride};
  const FramePlan plan(fit);
  const int cut = r(0, fit.input_height);
  std::vector<std::uint8_t> all;
  for (const int step : {3, 4}) {
    const int out_stride = step * fit.input_width;
    Guarded out(static_cast<std::size_t>(out_stride) * fit.input_height, seed % 2);
    const View view{out.data(), out_stride, step, fit.input_height, fit.input_width, step};
    plan.to_bytes(frame, view, 0, cut, kernels);
    plan.to_bytes(frame, view, cut, fit.input_height, kernels);
    all.insert(all.end(), out.data(), out.data() + out.bytes());
  }
  Guarded planes(sizeof(float) * 3 * fit.input_width * fit.input_height, seed % 2);
  plan.to_planes(frame, reinterpret_cast<float*>(planes.data()), 0, cut, kernels);
  plan.to_planes(frame, reinterpret_cast<float*>(planes.data()), cut, fit.input_height, kernels);
  all.insert(all.end(), planes.data(), planes.data() + planes.bytes());
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  const unsigned cases = count > 1 ? unsigned(std::atoi(arguments[1])) : 500;
  const unsigned first = count > 2 ? unsigned(std::atoi(arguments[2])) : 1;
  int failures = 0;
  for (const std::string& name : available_isas()) {
    if (name == "scalar" || (count > 3 && name != arguments[3])) continue;
    const LetterboxKernels& kernels = letterbox_kernels(kernels_named(name));
    for (unsigned seed = first; seed < first + cases; ++seed) {
      if (results(letterbox_kernels(conv_scalar()), seed) == results(kernels, seed)) continue;
      std::printf("%s differs; seed %u\n", kernels.name, seed);
      if (++failures > 9) return 1;
    }
    std::printf("%s: %s, %u cases, %d failures\n", name.c_str(), kernels.name, cases, failures);
  }
  return failures != 0;
}
