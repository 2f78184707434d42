#include "fuzz/wire_mutator.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace wutdet::fuzz {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Field {
  std::uint64_t number = 0;
  int wire = 0;
  std::uint64_t varint = 0;
  Bytes bytes;                // fixed numbers, and bytes that are no message
  std::vector<Field> fields;  // of a message
  bool is_message = false;
};

bool read_varint(const std::uint8_t*& at, const std::uint8_t* end, std::uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at == end) return false;
    value |= static_cast<std::uint64_t>(*at & 0x7F) << shift;
    if (*at++ < 0x80) return true;
  }
  return false;
}

bool parse(const std::uint8_t* at, const std::uint8_t* end, int depth, std::vector<Field>& out) {
  while (at != end) {
    Field field;
    std::uint64_t key, length = 0;
    if (!read_varint(at, end, key)) return false;
    field.number = key >> 3;
    field.wire = static_cast<int>(key & 7);
    if (field.number == 0 || field.number > 100) return false;
    if (field.wire == 0) {
      if (!read_varint(at, end, field.varint)) return false;
      out.push_back(std::move(field));
      continue;
    }
    if (field.wire == 1) length = 8;
    else if (field.wire == 5) length = 4;
    else if (field.wire != 2 || !read_varint(at, end, length)) return false;
    if (length > static_cast<std::uint64_t>(end - at)) return false;
    field.is_message = field.wire == 2 && length > 1 && depth > 0 && parse(at, at + length, depth - 1, field.fields);
    if (!field.is_message) {
      field.fields.clear();
      field.bytes.assign(at, at + length);
    }
    at += length;
    out.push_back(std::move(field));
  }
  return true;
}

void write_varint(std::uint64_t value, Bytes& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value) | 0x80);
  out.push_back(static_cast<std::uint8_t>(value));
}

void write(const std::vector<Field>& fields, Bytes& out) {
  for (const Field& field : fields) {
    write_varint(field.number << 3 | static_cast<std::uint64_t>(field.wire), out);
    if (field.wire == 0) {
      write_varint(field.varint, out);
      continue;
    }
    Bytes inner;
    if (field.is_message) write(field.fields, inner);
    const Bytes& content = field.is_message ? inner : field.bytes;
    if (field.wire == 2) write_varint(content.size(), out);
    out.insert(out.end(), content.begin(), content.end());
  }
}

struct Place {
  std::vector<Field>* siblings;
  std::size_t index;
};

void collect(std::vector<Field>& fields, std::vector<Place>& out) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    out.push_back({&fields, i});
    if (fields[i].is_message) collect(fields[i].fields, out);
  }
}

std::uint64_t interesting(std::mt19937& random) {
  static const std::uint64_t numbers[] = {0, 1, 2, 3, 4, 6, 7, 8, 9, 16, 127, 255, 1u << 16, 0x7FFFFFFF, 0x80000000,
                                          1ull << 40, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, ~0ull, ~0ull - 1};
  return numbers[random() % (sizeof numbers / sizeof *numbers)];
}

void change_bytes(Field& field, std::mt19937& random) {
  if (field.wire != 2) {
    if (!field.bytes.empty()) field.bytes[random() % field.bytes.size()] = static_cast<std::uint8_t>(random());
    return;
  }
  // Constants hold numbers of 8, 4 or 1 byte: half of the time one of them becomes another.
  const std::size_t width = random() % 2 ? 8 : 4;
  if (random() % 2 && field.bytes.size() >= width) {
    const std::uint64_t value = random() % 2 ? interesting(random) : random() % 12;
    std::memcpy(&field.bytes[random() % (field.bytes.size() / width) * width], &value, width);
    return;
  }
  const std::size_t size = field.bytes.size(), room = size + 16;
  field.bytes.resize(room);
  field.bytes.resize(LLVMFuzzerMutate(field.bytes.data(), size, room));
}

std::size_t put(const std::vector<Field>& fields, std::uint8_t* out, std::size_t most) {
  Bytes bytes;
  write(fields, bytes);
  const std::size_t size = std::min(most, bytes.size());
  if (size) std::memcpy(out, bytes.data(), size);
  return size;
}

constexpr int kDepth = 8;

}  // namespace

std::size_t mutate(std::uint8_t* data, std::size_t size, std::size_t most, unsigned int seed) {
  std::mt19937 random(seed);
  std::vector<Field> fields;
  if (!parse(data, data + size, kDepth, fields) || fields.empty()) return LLVMFuzzerMutate(data, size, most);
  for (unsigned times = 1 + random() % 2; times > 0; --times) {
    std::vector<Place> places;
    collect(fields, places);
    if (places.empty()) break;
    const Place place = places[random() % places.size()];
    std::vector<Field>& siblings = *place.siblings;
    Field& field = siblings[place.index];
    switch (random() % 10) {
      case 0: siblings.erase(siblings.begin() + static_cast<std::ptrdiff_t>(place.index)); break;
      case 1: {
        const Field copy = field;
        siblings.insert(siblings.begin() + static_cast<std::ptrdiff_t>(random() % (siblings.size() + 1)), copy);
        break;
      }
      case 2: std::swap(siblings[place.index], siblings[random() % siblings.size()]); break;
      case 3: {  // what another field of the same kind has: names, types, sizes
        std::vector<Place> alike;
        for (const Place& other : places)
          if ((*other.siblings)[other.index].number == field.number &&
              (*other.siblings)[other.index].wire == field.wire && other.siblings != place.siblings)
            alike.push_back(other);
        if (alike.empty()) break;
        const Place other = alike[random() % alike.size()];
        const Field copy = (*other.siblings)[other.index];
        field = copy;
        break;
      }
      case 4:
        if (random() % 8 == 0) field.number = 1 + random() % 24;
        break;
      default:
        if (field.wire == 0) {
          if (random() % 2) field.varint = interesting(random);
          else field.varint += random() % 2 ? 1 : ~0ull;
        } else if (!field.is_message) {
          change_bytes(field, random);
        }
    }
  }
  return put(fields, data, most);
}

std::size_t cross_over(const std::uint8_t* a, std::size_t size_a, const std::uint8_t* b, std::size_t size_b,
                       std::uint8_t* out, std::size_t most, unsigned int seed) {
  std::mt19937 random(seed);
  std::vector<Field> first, second;
  std::vector<Place> places, others;
  if (parse(a, a + size_a, kDepth, first) && parse(b, b + size_b, kDepth, second)) {
    collect(first, places);
    collect(second, others);
  }
  if (places.empty() || others.empty()) {
    const std::size_t size = std::min(size_a, most);
    if (size) std::memcpy(out, a, size);
    return size;
  }
  const Place other = others[random() % others.size()];
  const Field& taken = (*other.siblings)[other.index];
  std::vector<Place> alike;
  for (const Place& place : places)
    if ((*place.siblings)[place.index].number == taken.number) alike.push_back(place);
  const Place place = alike.empty() ? places[random() % places.size()] : alike[random() % alike.size()];
  if (random() % 2) (*place.siblings)[place.index] = taken;
  else place.siblings->insert(place.siblings->begin() + static_cast<std::ptrdiff_t>(place.index), taken);
  return put(first, out, most);
}

}  // namespace wutdet::fuzz
