// The wire format of protocol buffers, as far as an untrusted file of them is concerned: fields, one after the other,
// inside a range of bytes. Every length is checked against what is left. Groups, which nothing uses, are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/engine/graph.h"

namespace wutdet::engine {

enum class Wire : std::uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

class Message {
 public:
  // `what` names the message in errors and must outlive it.
  Message(const std::uint8_t* begin, std::size_t size, const char* what)
      : begin_(begin), at_(begin), end_(begin + size), what_(what) {}

  // Moves to the next field; false at the end. After it, number() and wire() are those of the field.
  bool next() {
    if (at_ == end_) return false;
    const std::uint64_t key = read_varint();
    const std::uint64_t number = key >> 3;
    if (number == 0 || number >= (1u << 29)) fail("field number " + std::to_string(number));
    number_ = static_cast<std::uint32_t>(number);
    switch (key & 7) {
      case 0:
        wire_ = Wire::Varint;
        varint_ = read_varint();
        return true;
      case 1: wire_ = Wire::Fixed64; return take(8);
      case 2: wire_ = Wire::Bytes; return take(read_varint());
      case 5: wire_ = Wire::Fixed32; return take(4);
      default: fail("wire type " + std::to_string(key & 7) + " in field " + std::to_string(number));
    }
  }

  std::uint32_t number() const { return number_; }
  Wire wire() const { return wire_; }

  // The field's value; an error where it has another wire type.
  std::uint64_t varint() const {
    expect(Wire::Varint);
    return varint_;
  }
  std::int64_t integer() const { return static_cast<std::int64_t>(varint()); }
  float real() const {
    expect(Wire::Fixed32);
    return float_at(value_);
  }
  std::string text() const {
    expect(Wire::Bytes);
    return std::string(reinterpret_cast<const char*>(value_), length_);
  }
  Message message(const char* what) const {
    expect(Wire::Bytes);
    return Message(value_, length_, what);
  }
  const std::uint8_t* bytes() const {
    expect(Wire::Bytes);
    return value_;
  }
  std::size_t length() const { return length_; }

  // Calls `each` with every number of a repeated field, which may be packed or not.
  template <typename Each>
  void integers(Each each) const {
    if (wire_ == Wire::Varint) return each(static_cast<std::int64_t>(varint_));
    expect(Wire::Bytes);
    Message packed(value_, length_, what_);
    while (packed.at_ != packed.end_) each(static_cast<std::int64_t>(packed.read_varint()));
  }
  template <typename Each>
  void reals(Each each) const {
    if (wire_ == Wire::Fixed32) return each(float_at(value_));
    expect(Wire::Bytes);
    if (length_ % 4 != 0) fail("packed floats of " + std::to_string(length_) + " bytes");
    for (std::size_t i = 0; i < length_; i += 4) each(float_at(value_ + i));
  }

  [[noreturn]] void fail(const std::string& problem) const {
    throw ModelFault("not a valid ONNX file: " + problem + " (" + what_ + ", byte " + std::to_string(at_ - begin_) +
                     " of it)");
  }

 private:
  static float float_at(const std::uint8_t* bytes) {
    const std::uint32_t bits = static_cast<std::uint32_t>(bytes[0]) | static_cast<std::uint32_t>(bytes[1]) << 8 |
                               static_cast<std::uint32_t>(bytes[2]) << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }

  void expect(Wire wire) const {
    if (wire_ != wire) fail("field " + std::to_string(number_) + " has wire type " + std::to_string(int(wire_)));
  }

  bool take(std::uint64_t length) {
    if (length > static_cast<std::uint64_t>(end_ - at_))
      fail("field " + std::to_string(number_) + " of " + std::to_string(length) + " bytes where " +
           std::to_string(end_ - at_) + " are left");
    value_ = at_;
    length_ = static_cast<std::size_t>(length);
    at_ += length_;
    return true;
  }

  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (at_ == end_) fail("a number is cut off");
      const std::uint8_t byte = *at_++;
      if (shift == 63 && byte > 1) fail("a number of more than 64 bits");
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of more than 10 bytes");
  }

  const std::uint8_t *begin_, *at_, *end_;
  const char* what_;
  std::uint32_t number_ = 0;
  Wire wire_ = Wire::Varint;
  std::uint64_t varint_ = 0;
  const std::uint8_t* value_ = nullptr;
  std::size_t length_ = 0;
};

}  // namespace wutdet::engine
