#include <algorithm>

#include "core/engine/attention.h"

namespace wutdet::engine {

void pack_heads(const View& in, int areas, int heads, int key_channels, int value_channels, int zero, std::int16_t* to,
                int first, int last) {
  const std::ptrdiff_t pixels = std::ptrdiff_t{in.height} * in.width / areas, pairs = (pixels + 1) / 2;
  const PackedHead layout(pixels, key_channels, value_channels);
  const auto pixel = [&](std::ptrdiff_t n) {
    return static_cast<const std::uint8_t*>(in.data) + n / in.width * in.row_stride + n % in.width * in.pixel_stride;
  };
  const auto centred = [&](std::uint8_t byte) { return static_cast<std::int16_t>(byte - zero); };
  for (std::ptrdiff_t at = first; at < last; ++at) {
    const std::ptrdiff_t area = at / pairs, pair = at % pairs;
    const std::ptrdiff_t n = 2 * pair, count = std::min<std::ptrdiff_t>(2, pixels - n);
    const std::uint8_t *one = pixel(area * pixels + n), *other = count == 2 ? pixel(area * pixels + n + 1) : one;
    for (int h = 0; h < heads; ++h) {
      std::int16_t* const head = to + (area * heads + h) * layout.values;
      const int channels = 2 * key_channels + value_channels;
      for (int i = 0; i < count; ++i) {
        const std::uint8_t *q = (i == 0 ? one : other) + std::ptrdiff_t{h} * channels, *k = q + key_channels;
        std::int16_t* const q_to = head + layout.q + (n + i) * key_channels;
        for (int c = 0; c < key_channels; ++c) q_to[c] = centred(q[c]);
        std::int16_t* const k_to = head + layout.k + (n + i) * 2;
        for (int c = 0; c < key_channels; c += 2) {
          k_to[c * layout.k_step] = centred(k[c]);
          k_to[c * layout.k_step + 1] = centred(k[c + 1]);
        }
      }
      const std::uint8_t *a = one + std::ptrdiff_t{h} * channels + 2 * key_channels,
                         *b = other + std::ptrdiff_t{h} * channels + 2 * key_channels;
      std::int16_t* const v_to = head + layout.v + pair * 2 * value_channels;
      for (int c = 0; c < value_channels; ++c) {
        v_to[2 * c] = centred(a[c]);
        v_to[2 * c + 1] = count == 2 ? centred(b[c]) : std::int16_t{0};
      }
    }
  }
}

}  // namespace wutdet::engine
