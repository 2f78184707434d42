// A strict, non-recursive scanner of JSON text. It declines (returns false) what is not JSON, and also rare things that
// are, so that its callers can leave those to a full parser.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <system_error>

namespace wutdet {

// `at` points into text that ends in a zero byte. JSON allows no zero byte anywhere, so every scan stops there.
// After a function returned false the cursor is of no more use.
class JsonCursor {
 public:
  explicit JsonCursor(const char* text) : at(text) {}

  const char* at;

  void skip_space() {
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') ++at;
  }

  bool take(char wanted) {
    if (*at != wanted) return false;
    ++at;
    return true;
  }

  bool take_word(const char* word) {
    for (; *word; ++word, ++at)
      if (*at != *word) return false;
    return true;
  }

  // A string without escapes, as its bytes (UTF-8).
  bool plain_string(std::string_view& out) {
    bool escaped = false;
    const char* first = at + 1;
    if (!string(escaped) || escaped) return false;
    out = std::string_view(first, static_cast<std::size_t>(at - 1 - first));
    return true;
  }

  // A key and its colon; the cursor then stands on the value.
  bool key(std::string_view& out) {
    if (!plain_string(out)) return false;
    skip_space();
    if (!take(':')) return false;
    skip_space();
    return true;
  }

  // A whole number of at most 18 digits without fraction or exponent.
  bool integer(std::int64_t& out) {
    const bool negative = take('-');
    const char* first = at;
    std::int64_t value = 0;
    while (is_digit(*at)) {
      if (at - first == kMostDigits) return false;
      value = value * 10 + (*at++ - '0');
    }
    if (at == first || (*first == '0' && at - first > 1) || *at == '.' || *at == 'e' || *at == 'E') return false;
    out = negative ? -value : value;
    return true;
  }

  // A finite number, correctly rounded. "-0" is 0, as it is a whole number; "-0.0" is -0.0.
  bool number(double& out) {
    const char* start = at;
    const bool negative = take('-');
    const char* first = at;
    std::uint64_t digits = 0;
    while (is_digit(*at)) {
      if (at - first == kMostDigits) return false;
      digits = digits * 10 + static_cast<std::uint64_t>(*at++ - '0');
    }
    std::ptrdiff_t count = at - first;
    if (count == 0 || (*first == '0' && count > 1)) return false;
    if (*at != '.' && *at != 'e' && *at != 'E') {
      const auto value = static_cast<std::int64_t>(digits);
      out = static_cast<double>(negative ? -value : value);
      return true;
    }
    std::ptrdiff_t power = 0;
    if (take('.')) {
      const char* point = at;
      while (is_digit(*at)) {
        if (++count <= kMostDigits) digits = digits * 10 + static_cast<std::uint64_t>(*at - '0');
        ++at;
      }
      power = point - at;
      if (power == 0 || count > kLongestNumber) return false;
    }
    if (*at == 'e' || *at == 'E') {
      std::ptrdiff_t exponent;
      if (!skip_exponent(exponent)) return false;
      power += exponent;
    }
    // A quotient or product of two exact doubles is rounded once, so it is the nearest double.
    if (count <= kMostDigits && digits <= kLargestExact && power >= -22 && power <= 22) {
      const auto exact = static_cast<double>(digits);
      const double value = power < 0 ? exact / kPowersOfTen[-power] : exact * kPowersOfTen[power];
      out = negative ? -value : value;
      return true;
    }
#if defined(__cpp_lib_to_chars)
    const auto [end, error] = std::from_chars(start, at, out);
    return error == std::errc() && end == at && std::isfinite(out);
#else
    (void)start;  // a standard library without from_chars for doubles: left to the full parser
    return false;
#endif
  }

  // Any value, however deep, up to kDeepest containers inside each other.
  bool skip_value() {
    std::uint64_t objects = 0;  // bit d: the container at depth d is an object
    int depth = 0;
    for (;;) {
      const char opened = *at;
      if (opened == '{' || opened == '[') {
        if (depth == kDeepest) return false;
        const std::uint64_t bit = std::uint64_t{1} << depth++;
        objects = opened == '{' ? objects | bit : objects & ~bit;
        ++at;
        skip_space();
        if (*at != (opened == '{' ? '}' : ']')) {
          if (opened == '{' && !skip_key()) return false;
          continue;
        }
      } else if (!skip_scalar()) {
        return false;
      }
      // Behind a value, or on the bracket that ends an empty container.
      for (;;) {
        if (depth == 0) return true;
        const bool in_object = objects >> (depth - 1) & 1;
        skip_space();
        if (take(',')) {
          skip_space();
          if (in_object && !skip_key()) return false;
          break;
        }
        if (!take(in_object ? '}' : ']')) return false;
        --depth;
      }
    }
  }

 private:
  static constexpr std::ptrdiff_t kMostDigits = 18;
  static constexpr std::ptrdiff_t kLongestNumber = 400;
  static constexpr std::uint64_t kLargestExact = std::uint64_t{1} << 53;
  static constexpr int kDeepest = 64;
  static constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

  bool skip_exponent(std::ptrdiff_t& value) {
    ++at;
    const bool negative = *at == '-';
    if (*at == '-' || *at == '+') ++at;
    const char* first = at;
    value = 0;
    while (is_digit(*at)) {
      if (at - first == 4) return false;
      value = value * 10 + (*at++ - '0');
    }
    if (negative) value = -value;
    return at != first;
  }

  // Only the grammar; of any size, but not longer than any sane writer's.
  bool skip_number() {
    take('-');
    const char* first = at;
    while (is_digit(*at)) ++at;
    if (at == first || (*first == '0' && at - first > 1) || at - first > kLongestNumber) return false;
    if (take('.')) {
      const char* point = at;
      while (is_digit(*at)) ++at;
      if (at == point) return false;
    }
    std::ptrdiff_t exponent;
    return (*at != 'e' && *at != 'E') || skip_exponent(exponent);
  }

  bool skip_scalar() {
    bool escaped;
    switch (*at) {
      case '"': return string(escaped);
      case 't': return take_word("true");
      case 'f': return take_word("false");
      case 'n': return take_word("null");
      default: return skip_number();
    }
  }

  bool skip_key() {
    bool escaped;
    if (!string(escaped)) return false;
    skip_space();
    if (!take(':')) return false;
    skip_space();
    return true;
  }

  bool string(bool& escaped) {
    if (!take('"')) return false;
    for (;;) {
      const auto c = static_cast<unsigned char>(*at);
      if (c == '"') {
        ++at;
        return true;
      }
      if (c < 0x20) return false;  // control characters, and the zero byte at the end
      if (c == '\\') {
        escaped = true;
        if (!escape()) return false;
      } else if (c < 0x80) {
        ++at;
      } else if (!utf8_sequence()) {
        return false;
      }
    }
  }

  bool escape() {
    ++at;
    if (*at == 'u') {
      for (int i = 1; i <= 4; ++i)
        if (!is_hex(at[i])) return false;
      at += 5;
      return true;
    }
    if (*at == 0 || std::strchr("\"\\/bfnrt", *at) == nullptr) return false;
    ++at;
    return true;
  }

  // Two to four bytes; no overlong forms, surrogates, or points above U+10FFFF.
  bool utf8_sequence() {
    const auto byte = [this](int i) { return static_cast<unsigned char>(at[i]); };
    const unsigned char lead = byte(0);
    unsigned char low = 0x80, high = 0xBF;  // limits of the second byte
    int length;
    if (lead >= 0xC2 && lead <= 0xDF) {
      length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      length = 3;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      length = 4;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    if (byte(1) < low || byte(1) > high) return false;
    for (int i = 2; i < length; ++i)
      if (byte(i) < 0x80 || byte(i) > 0xBF) return false;
    at += length;
    return true;
  }
};

}  // namespace wutdet
