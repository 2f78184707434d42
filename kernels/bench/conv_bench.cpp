// Stand-alone timing of convolutions, layer by layer: GMAC/s and share of the fastest dot products of this very core.
//   conv_bench SHAPES [kind: int8, silu, float, planes, or a group length] [kernels] [repeats] [silent]
// Every layer is timed alone, its buffers warm; the best of many short runs counts (other jobs may be running).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "bench/peak.h"
#include "core/engine/conv.h"
#include "core/engine/dispatch.h"

using namespace wutdet::engine;

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Work>
double best(int repeats, const Work& work) {
  double least = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = seconds();
    work();
    least = std::min(least, seconds() - start);
  }
  return least;
}

struct Layer {
  int often, height, width, in, out, kernel, stride, depthwise;
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: conv_bench SHAPES [int8|silu|float|planes|group length] [kernels] [repeats]\n");
    return 2;
  }
  const std::string kind = count > 2 ? arguments[2] : "int8";
  const ConvKernels& kernels = count > 3 ? kernels_named(arguments[3]) : chosen_kernels();
  const int repeats = count > 4 ? std::atoi(arguments[4]) : 30;
  const bool real = kind == "float", planes = kind == "planes", silu = kind == "silu";  // silu: int8 with float SiLU
  const int group = real || kind == "int8" || planes || silu ? 0 : std::atoi(kind.c_str());
  // Weights as networks have them: most are small, the largest of a channel is 127.
  const int spread = group ? 28 : 127;

  std::ifstream file(arguments[1]);
  std::string line;
  double all_seconds = 0, all_macs = 0, peak = wutdet::bench::peak_macs(kernels.name, real);
  std::printf("%s, %s, peak %.0f GMAC/s\n", kernels.name, kind.c_str(), peak * 1e-9);
  std::printf("%5s %9s %4s %4s %2s %2s %10s %7s %6s\n", "often", "output", "in", "out", "k", "s", "us", "GMAC/s", "share");
  while (std::getline(file, line)) {
    Layer l;
    std::istringstream words(line);
    if (!(words >> l.often >> l.height >> l.width >> l.in >> l.out >> l.kernel >> l.stride >> l.depthwise)) continue;
    ConvSpec s;
    s.in_channels = l.depthwise || real ? l.in : (l.in + 3) / 4 * 4;
    s.out_channels = l.out;
    s.kernel_h = s.kernel_w = l.kernel;
    s.stride_h = s.stride_w = l.stride;
    s.pad_top = s.pad_left = l.kernel / 2;
    s.depthwise = l.depthwise;
    if (planes && !l.depthwise) s.planes = 2;
    const std::size_t per = std::size_t(l.kernel) * l.kernel * (l.depthwise ? 1 : s.in_channels) * s.planes;
    std::vector<std::int8_t> weights(per * l.out);
    std::vector<float> float_weights(real ? per * l.out : 0, 0.01f), scale(l.out, 0.001f), bias(l.out, 100.0f);
    for (auto& w : weights) {
      const int sum = std::rand() % 43 + std::rand() % 43 + std::rand() % 43 - 63;
      w = std::int8_t(std::rand() % 200 == 0 ? spread : sum * spread / 127);
    }
    std::vector<float> group_scale(group ? (per + group - 1) / group * l.out : 2 * l.out, 0.5f);
    std::uint8_t table[256];
    for (int i = 0; i < 256; ++i) table[i] = std::uint8_t(255 - i);
    const std::ptrdiff_t size = real ? 4 : 1;
    s.input = s.output = real ? Number::f32 : Number::u8;
    if (real) s.float_weights = float_weights.data();
    else s.weights = weights.data(), s.scale = scale.data(), s.table = silu ? nullptr : table;
    s.bias = bias.data();
    s.silu = real || silu;
    if (group && !l.depthwise) s.group = group, s.group_scale = group_scale.data();
    if (s.planes == 2) {
      s.group = static_cast<int>(per / 2);
      s.group_scale = group_scale.data();
      s.output = Number::f32;
      s.table = nullptr;
      s.silu = true;
    }
    const ConvLayer layer = pack(s, kernels);
    View in, out;
    const int border = l.kernel / 2;
    in.height = l.height * l.stride;
    in.width = l.width * l.stride;
    in.channels = s.in_channels;
    in.pixel_stride = s.in_channels * size;
    in.row_stride = (in.width + 2 * border) * in.pixel_stride;
    Packed input(std::size_t(in.height + 2 * border) * in.row_stride);
    if (!real)
      for (std::size_t i = 0; i < input.bytes(); ++i) input.as<std::uint8_t>()[i] = std::uint8_t(std::rand());
    in.data = input.as<std::uint8_t>() + border * (in.row_stride + in.pixel_stride);
    out.height = l.height;
    out.width = l.width;
    out.channels = l.out;
    out.pixel_stride = l.out * (s.output == Number::u8 ? 1 : 4);
    out.row_stride = out.pixel_stride * l.width;
    Packed output(std::size_t(l.height) * out.row_stride);
    out.data = output.as<void>();
    const ConvCall call = bind(layer, in, out, nullptr);
    Packed scratch(call.scratch_bytes);
    const double macs = double(l.height) * l.width * l.out * l.kernel * l.kernel * (l.depthwise ? 1 : l.in);
    // Parts of a layer are timed one by one, their best times added: a whole layer would seldom run undisturbed.
    const int parts = std::min(l.height, std::max(1, int(macs / 2e7)));
    std::vector<double> part_time(parts, 1e9);
    for (int repeat = 0; repeat < repeats; ++repeat) {
      for (int part = 0; part < parts; ++part) {
        const int first = l.height * part / parts, last = l.height * (part + 1) / parts;
        part_time[part] = std::min(part_time[part], best(1, [&] {
                                     run(call, first, last, 0, block_count(layer), scratch.as<void>());
                                   }));
      }
    }
    double time = 0;
    for (const double part : part_time) time += part;
    all_seconds += time * l.often;
    all_macs += macs * l.often;
    std::printf("%5d %4dx%-4d %4d %4d %2d %2d %10.1f %7.1f %5.1f%%%s\n", l.often, l.height, l.width, l.in, l.out,
                l.kernel, l.stride, time * 1e6, macs / time * 1e-9, peak > 0 ? 100 * macs / time / peak : 0.0,
                l.depthwise ? " depthwise" : "");
  }
  std::printf("all: %.3f GMAC, %.2f ms, %.1f GMAC/s, %.1f%% of peak\n", all_macs * 1e-9, all_seconds * 1e3,
              all_macs / all_seconds * 1e-9, peak > 0 ? 100 * all_macs / all_seconds / peak : 0.0);
}
